//! What the guard and the reasoner process say to each other: JSON messages, each behind its length as
//! four bytes, most significant first.

use std::io::{Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Completion, Failure, Request};
pub use crate::site::CacheType;

/// Longest message. Prompts take a few kB; anything near this is not one.
pub const MAX_MESSAGE: usize = 1 << 20;

/// From the guard: one [`Load`], then questions, never more of them unanswered than `sequences`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    Load(Load),
    Ask { id: u64, request: Request },
}

/// Which model to load, and what it may take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Load {
    pub path: PathBuf,
    /// Refuse any other file: lower-case hex.
    pub sha256: Option<String>,
    /// Tokens of prompt and reply together.
    pub context: u32,
    /// 0: as many, up to the cores, as a measurement finds best.
    pub threads: u32,
    /// Address-space limit of the process, MB.
    pub memory_limit_mb: Option<u64>,
    #[serde(default)]
    pub cache: CacheType,
    /// `None`: as the model's attention has it.
    #[serde(default)]
    pub flash_attention: Option<bool>,
    /// Questions answered at once; each has a cache of `context` tokens.
    #[serde(default = "one")]
    pub sequences: u32,
    #[serde(default)]
    pub pace: Pace,
    /// Folder for the computed beginning of the prompt; it is not kept when absent.
    #[serde(default)]
    pub kept: Option<PathBuf>,
    /// Gives way to everything else on the machine, in time and memory.
    #[serde(default)]
    pub background: bool,
}

fn one() -> u32 {
    1
}

/// How a reply is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    #[default]
    Fast,
    /// For comparison: the whole prompt each time, every token by a pass of its own, and whitespace as the
    /// model likes.
    Plain,
}

/// From the reasoner: one `Loaded` or `Refused`, then one answer to each question, in any order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    Loaded(Facts),
    Refused { why: String },
    Answer { id: u64, result: Result<Completion, Failure> },
}

/// What was loaded; part of the run header.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub sha256: String,
    pub architecture: String,
    pub quantization: String,
    pub parameters: u64,
    pub file_bytes: u64,
    /// Tokens of prompt and reply together.
    pub context: u32,
    /// Bytes of the cache for the whole context of every sequence.
    pub kv_bytes: u64,
    /// Questions answered at once.
    #[serde(default = "one")]
    pub sequences: u32,
    pub threads: u32,
    /// The measurement that `threads` comes from; empty where they were given.
    #[serde(default)]
    pub probed: Vec<Probed>,
    /// llama.cpp's version and the instruction sets it was built for.
    pub build: String,
    pub load_ms: u64,
    /// The process that holds the model.
    pub pid: u32,
}

/// What a token takes with so many threads, alone on an almost empty cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probed {
    pub threads: u32,
    pub us_per_token: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error("the pipe failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("expected a message of at most {MAX_MESSAGE} bytes, found a length of {0}")]
    TooLong(usize),
    #[error("a message is not what was expected: {0}")]
    Json(#[from] serde_json::Error),
}

/// A message as it goes onto the pipe.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, ProtocolError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    let prefix =
        u32::try_from(length).ok().filter(|_| length <= MAX_MESSAGE).ok_or(ProtocolError::TooLong(length))?;
    bytes[..4].copy_from_slice(&prefix.to_be_bytes());
    Ok(bytes)
}

/// The length that four bytes announce.
pub fn length(prefix: [u8; 4]) -> Result<usize, ProtocolError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > MAX_MESSAGE { Err(ProtocolError::TooLong(length)) } else { Ok(length) }
}

/// The next message, or `None` when the other side closed the pipe between two messages.
pub fn read<T: DeserializeOwned>(pipe: &mut impl Read) -> Result<Option<T>, ProtocolError> {
    let mut prefix = [0; 4];
    if pipe.read(&mut prefix[..1])? == 0 {
        return Ok(None);
    }
    pipe.read_exact(&mut prefix[1..])?;
    let mut body = vec![0; length(prefix)?];
    pipe.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

pub fn write(pipe: &mut impl Write, message: &impl Serialize) -> Result<(), ProtocolError> {
    pipe.write_all(&encode(message)?)?;
    Ok(pipe.flush()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_survives_the_pipe() {
        let answer = Reply::Answer {
            id: 7,
            result: Err(Failure::TooLong { tokens: 3000, reply: 400, context: 2048 }),
        };
        let mut pipe = Vec::new();
        write(&mut pipe, &answer).unwrap();
        write(&mut pipe, &Reply::Refused { why: "no such file".into() }).unwrap();
        let mut pipe = pipe.as_slice();
        assert_eq!(read::<Reply>(&mut pipe).unwrap(), Some(answer));
        assert!(matches!(read::<Reply>(&mut pipe), Ok(Some(Reply::Refused { .. }))));
        assert_eq!(read::<Reply>(&mut pipe).unwrap(), None);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_allocated() {
        let pipe = [0xff, 0xff, 0xff, 0xff, b'{'];
        assert!(matches!(read::<Reply>(&mut pipe.as_slice()), Err(ProtocolError::TooLong(0xffff_ffff))));
        let long = Reply::Refused { why: "x".repeat(MAX_MESSAGE) };
        assert!(matches!(encode(&long), Err(ProtocolError::TooLong(_))));
    }

    #[test]
    fn a_message_cut_short_is_an_error_not_an_end() {
        let whole = encode(&Reply::Refused { why: "w".into() }).unwrap();
        for cut in 1..whole.len() {
            assert!(read::<Reply>(&mut &whole[..cut]).is_err(), "cut after {cut} bytes");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut pipe = bytes.as_slice();
            while let Ok(Some(_)) = read::<Command>(&mut pipe) {}
        }
    }
}
