//! Reads the header of a GGUF file (versions 2 and 3): metadata and the list of tensors, no weights.
//!
//! Total on garbage: every length is checked against what is left of the file before it is used, so a
//! truncated or hostile file ends in an error that names the byte.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek};
use std::ops::Range;

/// Longest text kept; chat templates are the longest in practice, at some tens of kB.
const LONGEST_TEXT: u64 = 16 << 20;
/// Longest array of numbers kept. Those that matter hold one number for each layer.
const LONGEST_LIST: u64 = 4096;

#[derive(Debug)]
pub struct Gguf {
    pub metadata: BTreeMap<String, Value>,
    pub tensors: Vec<Tensor>,
    /// Where in the file each value is, its type in front, so that it can be copied as it is.
    pub spans: BTreeMap<String, Range<u64>>,
    /// Where in the file the weights begin.
    pub data_start: u64,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// A short array of whole numbers.
    Numbers(Vec<u64>),
    /// Any other array, skipped: only its length is known.
    Array {
        length: u64,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    pub name: String,
    /// Sizes of its dimensions, the contiguous one first.
    pub shape: Vec<u64>,
    pub elements: u64,
    /// ggml's number for the type of its elements.
    pub kind: u32,
    /// Where its weights begin, counted from the start of all weights.
    pub offset: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error("cannot read it: {0}")]
    Io(#[from] std::io::Error),
    #[error("at byte {offset}: expected {expected}, found {found}")]
    Malformed { offset: u64, expected: String, found: String },
    #[error("it is cut off: expected {expected} at byte {offset}, but it ends at byte {end}")]
    Truncated { offset: u64, expected: String, end: u64 },
    #[error("the metadata has no {key:?}, which tells {meaning}")]
    Missing { key: String, meaning: &'static str },
    #[error("metadata {key:?}: expected {expected}, found {found}")]
    Unexpected { key: String, expected: &'static str, found: String },
}

impl Gguf {
    /// Reads the header from the beginning of `file`.
    pub fn read(mut file: impl Read + Seek) -> Result<Self, GgufError> {
        let end = file.seek(std::io::SeekFrom::End(0))?;
        file.rewind()?;
        let mut cursor = Cursor { file: BufReader::new(file), at: 0, end };

        let magic = cursor.bytes::<4>("the four bytes \"GGUF\"")?;
        if magic != *b"GGUF" {
            return Err(malformed(0, "the four bytes \"GGUF\"", format!("\"{}\"", magic.escape_ascii())));
        }
        let version = cursor.u32("a version")?;
        if !(2..=3).contains(&version) {
            return Err(malformed(4, "GGUF version 2 or 3", format!("version {version}")));
        }
        // The shortest tensor entry and the shortest metadata entry take 24 and 13 bytes.
        let tensor_count = cursor.count("a number of tensors", 24)?;
        let entry_count = cursor.count("a number of metadata entries", 13)?;

        let mut metadata = BTreeMap::new();
        let mut spans = BTreeMap::new();
        for _ in 0..entry_count {
            let key = cursor.text("a metadata key")?;
            let start = cursor.at;
            let kind = cursor.u32("the type of a metadata value")?;
            let value = cursor.value(kind)?;
            spans.insert(key.clone(), start..cursor.at);
            metadata.insert(key, value);
        }

        let mut tensors = Vec::new();
        let mut data_end = 0;
        for _ in 0..tensor_count {
            let (tensor, bytes_end) = cursor.tensor()?;
            data_end = data_end.max(bytes_end);
            tensors.push(tensor);
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Unsigned(n)) if n.is_power_of_two() && *n < 1 << 20 => *n,
            _ => 32,
        };
        let data_start = cursor.at.next_multiple_of(alignment);
        let wanted = data_start.saturating_add(data_end);
        if wanted > end {
            let expected = format!("weights up to byte {wanted}");
            return Err(GgufError::Truncated { offset: data_start, expected, end });
        }
        Ok(Self { metadata, tensors, spans, data_start })
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number with a fraction, or `None` when the key is absent.
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) => Ok(Some(*x)),
            Some(other) => Err(unexpected(key, "a number with a fraction", other)),
        }
    }

    /// A whole number, or `None` when the key is absent.
    pub fn number(&self, key: &str) -> Result<Option<u64>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(n)) => Ok(Some(*n)),
            Some(other) => Err(unexpected(key, "a whole number", other)),
        }
    }

    /// One number for each of `layers` layers: files give one for all, or an array.
    pub fn per_layer(&self, key: &str, layers: u64) -> Result<Option<Vec<u64>>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(n)) => Ok(Some(vec![*n; usize::try_from(layers).unwrap_or(0)])),
            Some(Value::Numbers(list)) if list.len() as u64 == layers => Ok(Some(list.clone())),
            Some(other) => Err(unexpected(key, "a whole number, or one for each layer", other)),
        }
    }

    pub fn array_length(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Array { length }) => Some(*length),
            Some(Value::Numbers(list)) => Some(list.len() as u64),
            _ => None,
        }
    }
}

fn unexpected(key: &str, expected: &'static str, found: &Value) -> GgufError {
    let found = format!("{found:?}").chars().take(80).collect();
    GgufError::Unexpected { key: key.to_owned(), expected, found }
}

fn malformed(offset: u64, expected: &str, found: String) -> GgufError {
    GgufError::Malformed { offset, expected: expected.to_owned(), found }
}

struct Cursor<R> {
    file: BufReader<R>,
    at: u64,
    end: u64,
}

impl<R: Read + Seek> Cursor<R> {
    fn left(&self) -> u64 {
        self.end - self.at
    }

    fn need(&self, bytes: u64, expected: &str) -> Result<(), GgufError> {
        if bytes <= self.left() {
            return Ok(());
        }
        Err(GgufError::Truncated { offset: self.at, expected: expected.to_owned(), end: self.end })
    }

    fn bytes<const N: usize>(&mut self, expected: &str) -> Result<[u8; N], GgufError> {
        self.need(N as u64, expected)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64, expected: &str) -> Result<(), GgufError> {
        self.need(bytes, expected)?;
        self.file.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX))?;
        self.at += bytes;
        Ok(())
    }

    fn u32(&mut self, expected: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(expected)?))
    }

    fn u64(&mut self, expected: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes(expected)?))
    }

    /// A number of things of at least `least` bytes each, so no more than fit into the rest of the file.
    fn count(&mut self, expected: &str, least: u64) -> Result<u64, GgufError> {
        let offset = self.at;
        let count = self.u64(expected)?;
        let most = self.left() / least;
        if count > most {
            let expected = format!("{expected} that fits into the file (at most {most})");
            return Err(malformed(offset, &expected, count.to_string()));
        }
        Ok(count)
    }

    fn text_length(&mut self, expected: &str) -> Result<u64, GgufError> {
        let offset = self.at;
        let length = self.u64(expected)?;
        if length > LONGEST_TEXT {
            let expected = format!("{expected} of at most {LONGEST_TEXT} bytes");
            return Err(malformed(offset, &expected, format!("{length} bytes")));
        }
        self.need(length, expected)?;
        Ok(length)
    }

    fn text(&mut self, expected: &str) -> Result<String, GgufError> {
        let length = self.text_length(expected)?;
        let offset = self.at;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.file.read_exact(&mut bytes)?;
        self.at += length;
        String::from_utf8(bytes)
            .map_err(|e| malformed(offset, &format!("{expected} in UTF-8"), e.utf8_error().to_string()))
    }

    fn value(&mut self, kind: u32) -> Result<Value, GgufError> {
        let what = "a metadata value";
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.bytes::<1>(what)?[0])),
            1 => signed(i64::from(i8::from_le_bytes(self.bytes(what)?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.bytes(what)?))),
            3 => signed(i64::from(i16::from_le_bytes(self.bytes(what)?))),
            4 => Value::Unsigned(u64::from(self.u32(what)?)),
            5 => signed(i64::from(i32::from_le_bytes(self.bytes(what)?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.bytes(what)?))),
            7 => Value::Bool(self.bytes::<1>(what)? != [0]),
            8 => Value::Text(self.text("a text value")?),
            9 => self.array()?,
            10 => Value::Unsigned(self.u64(what)?),
            11 => signed(i64::from_le_bytes(self.bytes(what)?)),
            12 => Value::Float(f64::from_le_bytes(self.bytes(what)?)),
            other => {
                return Err(malformed(self.at - 4, "a type of value from 0 to 12", other.to_string()));
            }
        })
    }

    fn array(&mut self) -> Result<Value, GgufError> {
        let kind = self.u32("the type of an array")?;
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            other => {
                let expected = "an array of numbers, truth values or text";
                return Err(malformed(self.at - 4, expected, format!("type {other}")));
            }
        };
        let length = self.count("the length of an array", width)?;
        let whole = !matches!(kind, 6 | 7 | 8 | 12);
        if whole && length <= LONGEST_LIST {
            let mut list = Vec::new();
            for _ in 0..length {
                let Value::Unsigned(n) = self.value(kind)? else {
                    // A negative number means nothing to this reader; neither do its neighbours.
                    self.skip((length - 1 - list.len() as u64) * width, "an array")?;
                    return Ok(Value::Array { length });
                };
                list.push(n);
            }
            return Ok(Value::Numbers(list));
        }
        if kind == 8 {
            for _ in 0..length {
                let bytes = self.text_length("a text in an array")?;
                self.skip(bytes, "a text in an array")?;
            }
        } else {
            self.skip(length * width, "an array")?;
        }
        Ok(Value::Array { length })
    }

    /// A tensor, and where its weights end, counted from the start of all weights.
    fn tensor(&mut self) -> Result<(Tensor, u64), GgufError> {
        let name = self.text("the name of a tensor")?;
        let dimensions = self.u32("the number of dimensions of a tensor")?;
        if dimensions > 4 {
            return Err(malformed(self.at - 4, "at most 4 dimensions", dimensions.to_string()));
        }
        let mut elements: u64 = 1;
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64("a dimension of a tensor")?;
            shape.push(size);
            elements = elements.checked_mul(size).ok_or_else(|| {
                malformed(self.at - 8, "a tensor of less than 2^64 elements", size.to_string())
            })?;
        }
        let kind = self.u32("the type of a tensor")?;
        let offset = self.u64("the place of a tensor's weights")?;
        let bytes = Layout::of(kind).map_or(0, |l| l.bytes(elements));
        Ok((Tensor { name, shape, elements, kind, offset }, offset.saturating_add(bytes)))
    }
}

fn signed(n: i64) -> Value {
    u64::try_from(n).map_or(Value::Signed(n), Value::Unsigned)
}

/// How ggml stores a type of element: blocks of so many elements take so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    pub name: &'static str,
    block: u64,
    block_bytes: u64,
}

impl Layout {
    /// `None` for types this reader does not know, which only means that sizes are not checked.
    pub fn of(kind: u32) -> Option<Self> {
        let (name, block, block_bytes) = match kind {
            0 => ("F32", 1, 4),
            1 => ("F16", 1, 2),
            2 => ("Q4_0", 32, 18),
            3 => ("Q4_1", 32, 20),
            6 => ("Q5_0", 32, 22),
            7 => ("Q5_1", 32, 24),
            8 => ("Q8_0", 32, 34),
            10 => ("Q2_K", 256, 84),
            11 => ("Q3_K", 256, 110),
            12 => ("Q4_K", 256, 144),
            13 => ("Q5_K", 256, 176),
            14 => ("Q6_K", 256, 210),
            16 => ("IQ2_XXS", 256, 66),
            17 => ("IQ2_XS", 256, 74),
            18 => ("IQ3_XXS", 256, 98),
            19 => ("IQ1_S", 256, 50),
            20 => ("IQ4_NL", 32, 18),
            21 => ("IQ3_S", 256, 110),
            22 => ("IQ2_S", 256, 82),
            23 => ("IQ4_XS", 256, 136),
            24 => ("I8", 1, 1),
            25 => ("I16", 1, 2),
            26 => ("I32", 1, 4),
            27 => ("I64", 1, 8),
            28 => ("F64", 1, 8),
            29 => ("IQ1_M", 256, 56),
            30 => ("BF16", 1, 2),
            34 => ("TQ1_0", 256, 54),
            35 => ("TQ2_0", 256, 66),
            39 => ("MXFP4", 32, 17),
            _ => return None,
        };
        Some(Self { name, block, block_bytes })
    }

    pub fn bytes(self, elements: u64) -> u64 {
        elements.div_ceil(self.block).saturating_mul(self.block_bytes)
    }
}
