//! Model files: what is in one, and making one.

#[cfg(feature = "llama")]
pub mod compress;
#[cfg(feature = "llama")]
pub(crate) mod ffi;
pub mod gguf;
pub mod inspect;
#[cfg(feature = "llama")]
pub mod requantize;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::hex;

/// SHA-256 of a file, in lower-case hex.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(hex::encode(&hash.finalize()))
}
