//! Writes a GGUF file (version 3), a tensor at a time.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use crate::model::ffi;

const ALIGNMENT: u64 = 32;

/// How numbers are stored; vectors always as F32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Stored {
    F32,
    F16,
}

/// A tensor to come.
pub(super) struct Planned {
    pub(super) name: String,
    /// The contiguous dimension first.
    pub(super) shape: Vec<usize>,
}

impl Planned {
    pub(super) fn new(name: impl Into<String>, shape: &[usize]) -> Self {
        Self { name: name.into(), shape: shape.to_vec() }
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// One matrix per head is multiplied with what does not lie in order. For a CPU's matrix unit (AMX), llama.cpp
    /// packs such a matrix of any smaller number format and then cannot use it: f32 it leaves alone.
    fn stored(&self, stored: Stored) -> Stored {
        if matches!(self.shape.len(), 1 | 3) { Stored::F32 } else { stored }
    }

    fn bytes(&self, stored: Stored) -> u64 {
        let width = match self.stored(stored) {
            Stored::F32 => 4,
            Stored::F16 => 2,
        };
        (self.elements() as u64 * width).next_multiple_of(ALIGNMENT)
    }
}

/// Metadata values as bytes, their type in front.
pub(super) fn number(n: u32) -> Vec<u8> {
    [4u32.to_le_bytes(), n.to_le_bytes()].concat()
}

pub(super) fn float(x: f64) -> Vec<u8> {
    [6u32.to_le_bytes(), (x as f32).to_le_bytes()].concat()
}

pub(super) fn truth(yes: bool) -> Vec<u8> {
    [&7u32.to_le_bytes()[..], &[u8::from(yes)]].concat()
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [&8u32.to_le_bytes()[..], &bytes_of(text)].concat()
}

fn bytes_of(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

pub(super) struct Writer {
    file: BufWriter<File>,
    /// Last one first.
    waiting: Vec<Planned>,
    stored: Stored,
}

impl Writer {
    /// Writes the header. Then the tensors' weights must follow, in the order planned.
    pub(super) fn create(
        path: &Path,
        metadata: &[(String, Vec<u8>)],
        mut tensors: Vec<Planned>,
        stored: Stored,
    ) -> std::io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"GGUF")?;
        file.write_all(&3u32.to_le_bytes())?;
        file.write_all(&(tensors.len() as u64).to_le_bytes())?;
        file.write_all(&(metadata.len() as u64).to_le_bytes())?;
        for (key, value) in metadata {
            file.write_all(&bytes_of(key))?;
            file.write_all(value)?;
        }
        let mut offset = 0;
        for tensor in &tensors {
            file.write_all(&bytes_of(&tensor.name))?;
            file.write_all(&(tensor.shape.len() as u32).to_le_bytes())?;
            for size in &tensor.shape {
                file.write_all(&(*size as u64).to_le_bytes())?;
            }
            let kind: u32 = match tensor.stored(stored) {
                Stored::F32 => 0,
                Stored::F16 => 1,
            };
            file.write_all(&kind.to_le_bytes())?;
            file.write_all(&u64::to_le_bytes(offset))?;
            offset += tensor.bytes(stored);
        }
        tensors.reverse();
        let mut writer = Self { file, waiting: tensors, stored };
        writer.pad()?;
        Ok(writer)
    }

    /// The next tensor's weights.
    pub(super) fn tensor(&mut self, name: &str, numbers: &[f32]) -> std::io::Result<()> {
        let planned = self.waiting.pop().filter(|p| p.name == name && p.elements() == numbers.len());
        let Some(planned) = planned else {
            let why = format!("tensor {name} with {} numbers was not planned next", numbers.len());
            return Err(std::io::Error::other(why));
        };
        match planned.stored(self.stored) {
            Stored::F32 => {
                for n in numbers {
                    self.file.write_all(&n.to_le_bytes())?;
                }
            }
            Stored::F16 => {
                for half in ffi::to_f16(numbers) {
                    self.file.write_all(&half.to_le_bytes())?;
                }
            }
        }
        self.pad()
    }

    pub(super) fn finish(mut self) -> std::io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }

    fn pad(&mut self) -> std::io::Result<()> {
        let at = self.file.stream_position()?;
        let gap = usize::try_from(at.next_multiple_of(ALIGNMENT) - at).unwrap_or(0);
        self.file.write_all(&[0; ALIGNMENT as usize][..gap])
    }
}
