//! `isotherm model requantize`: the same model in another number format.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use llama_cpp_2::llama_backend::LlamaBackend;
use serde::{Deserialize, Serialize};

use super::ffi;
use super::inspect::{InspectError, Inspection, inspect};

/// A number format with a fast path on CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    Q8_0,
    Q4_0,
}

impl FromStr for Quantization {
    type Err = UnknownQuantization;
    fn from_str(text: &str) -> Result<Self, UnknownQuantization> {
        match text {
            "q8_0" => Ok(Self::Q8_0),
            "q4_0" => Ok(Self::Q4_0),
            _ => Err(UnknownQuantization(text.to_owned())),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown number format {0:?}: expected q8_0 or q4_0")]
pub struct UnknownQuantization(String);

#[derive(Debug, thiserror::Error)]
pub enum RequantizeError {
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the path {0} cannot be handed to llama.cpp: expected UTF-8 without NUL bytes")]
    Path(PathBuf),
    #[error("llama.cpp could not convert {path} (code {code}); its log above says why")]
    Llama { path: PathBuf, code: u32 },
}

/// Writes the model at `input` to `output` as `to`, and tells what came out. `output` appears whole or not
/// at all.
pub fn requantize(input: &Path, output: &Path, to: Quantization) -> Result<Inspection, RequantizeError> {
    // A file that cannot be read gives a better message here than in llama.cpp's log.
    inspect(input)?;
    let io = |source| RequantizeError::Io { path: output.to_owned(), source };
    let partial = output.with_extension("partial");
    let kind = match to {
        Quantization::Q8_0 => llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q8_0,
        Quantization::Q4_0 => llama_cpp_sys_2::LLAMA_FTYPE_MOSTLY_Q4_0,
    };
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
    // Fails only when this process initialized it before, which is as good.
    let _initialized = LlamaBackend::init();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(64) as i32);
    ffi::quantize(&c_path(input)?, &c_path(&partial)?, kind, threads)
        .map_err(|code| RequantizeError::Llama { path: input.to_owned(), code })?;
    std::fs::File::open(&partial).and_then(|f| f.sync_all()).map_err(io)?;
    std::fs::rename(&partial, output).map_err(io)?;
    Ok(inspect(output)?)
}

fn c_path(path: &Path) -> Result<CString, RequantizeError> {
    path.to_str().and_then(|p| CString::new(p).ok()).ok_or_else(|| RequantizeError::Path(path.to_owned()))
}
