//! The llama.cpp functions that the bindings leave raw.
#![allow(unsafe_code, reason = "llama_model_quantize and the build strings have no safe binding")]

use std::ffi::{CStr, c_char};

/// Reads the model at `input` and writes it to `output` as `kind`. `Err` holds llama.cpp's return code; the
/// reason goes to its log.
pub(crate) fn quantize(
    input: &CStr,
    output: &CStr,
    kind: llama_cpp_sys_2::llama_ftype,
    threads: i32,
) -> Result<(), u32> {
    // SAFETY: takes nothing, returns a plain struct by value.
    let mut params = unsafe { llama_cpp_sys_2::llama_model_quantize_default_params() };
    params.nthread = threads;
    params.ftype = kind;
    params.allow_requantize = true;
    // SAFETY: both strings end in NUL and outlive the call, as does `params`, whose pointers the default
    // leaves null; exceptions are caught inside and become the return code.
    match unsafe { llama_cpp_sys_2::llama_model_quantize(input.as_ptr(), output.as_ptr(), &raw const params) }
    {
        0 => Ok(()),
        code => Err(code),
    }
}

/// The llama.cpp release.
pub(crate) fn version() -> String {
    // SAFETY: returns a static string.
    owned(unsafe { llama_cpp_sys_2::llama_version() })
}

/// The commit of ggml it was built from, or "unknown".
pub(crate) fn commit() -> String {
    // SAFETY: returns a static string.
    owned(unsafe { llama_cpp_sys_2::ggml_commit() })
}

/// The instruction sets and back ends it was built for.
pub(crate) fn system_info() -> String {
    // SAFETY: returns a string that llama.cpp keeps; the copy is taken at once.
    owned(unsafe { llama_cpp_sys_2::llama_print_system_info() })
}

fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the callers above only pass strings that end in NUL.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
