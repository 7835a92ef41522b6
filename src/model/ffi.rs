//! The llama.cpp functions that the bindings leave raw.
#![allow(unsafe_code, reason = "quantization, number formats and the build strings have no safe binding")]

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

/// Turns stored weights of type `kind` into numbers, as many as `numbers` holds. `false`: `bytes` are not
/// that many, or the type has no such form.
pub(crate) fn dequantize(kind: u32, bytes: &[u8], numbers: &mut [f32]) -> bool {
    if kind >= llama_cpp_sys_2::GGML_TYPE_COUNT {
        return false;
    }
    // SAFETY: `kind` is one of ggml's types, and the traits are a static table.
    let Some(traits) = (unsafe { llama_cpp_sys_2::ggml_get_type_traits(kind).as_ref() }) else {
        return false;
    };
    let Ok(block) = usize::try_from(traits.blck_size) else { return false };
    if block == 0
        || !numbers.len().is_multiple_of(block)
        || bytes.len() != numbers.len() / block * traits.type_size
    {
        return false;
    }
    if kind == llama_cpp_sys_2::GGML_TYPE_F32 {
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *number = f32::from_le_bytes(*bytes);
        }
        return true;
    }
    let (Some(to_float), Ok(count)) = (traits.to_float, i64::try_from(numbers.len())) else { return false };
    // SAFETY: `bytes` hold exactly the blocks of `count` numbers, and `numbers` has room for them. ggml reads
    // blocks through packed 2-byte fields; the buffer of a `Vec<u8>` is aligned at least that far.
    unsafe { to_float(bytes.as_ptr().cast(), numbers.as_mut_ptr(), count) };
    true
}

/// `numbers` as IEEE half-precision numbers.
pub(crate) fn to_f16(numbers: &[f32]) -> Vec<u16> {
    let mut halves = vec![0; numbers.len()];
    // SAFETY: both hold as many numbers as the count says, which fits: slices are no longer than `isize`.
    unsafe {
        llama_cpp_sys_2::ggml_fp32_to_fp16_row(numbers.as_ptr(), halves.as_mut_ptr(), numbers.len() as i64);
    }
    halves
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
