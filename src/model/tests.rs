use std::io::Cursor;

use proptest::prelude::*;

use super::gguf::{Gguf, GgufError, Value};
use super::inspect::{Attention, Inspection, describe};

/// Writes GGUF headers, independently of the reader.
#[derive(Default)]
struct Writer {
    entries: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: usize,
}

fn text(s: &str) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
}

impl Writer {
    fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries.push([&text(key), &kind.to_le_bytes()[..], value].concat());
        self
    }
    fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, 8, &text(value))
    }
    fn number(self, key: &str, value: u32) -> Self {
        self.entry(key, 4, &value.to_le_bytes())
    }
    fn array(self, key: &str, kind: u32, items: &[Vec<u8>]) -> Self {
        let length = (items.len() as u64).to_le_bytes();
        self.entry(key, 9, &[&kind.to_le_bytes()[..], &length, &items.concat()].concat())
    }
    /// A tensor of 32 by `rows` numbers in Q8_0.
    fn tensor(mut self, name: &str, rows: u64) -> Self {
        let shape = [&2u32.to_le_bytes()[..], &32u64.to_le_bytes(), &rows.to_le_bytes()].concat();
        let place = [&8u32.to_le_bytes()[..], &(self.data as u64).to_le_bytes()].concat();
        self.tensors.push([text(name), shape, place].concat());
        self.data += rows as usize * 34;
        self
    }
    fn bytes(&self) -> Vec<u8> {
        let mut file = [
            &b"GGUF"[..],
            &3u32.to_le_bytes(),
            &(self.tensors.len() as u64).to_le_bytes(),
            &(self.entries.len() as u64).to_le_bytes(),
            &self.entries.concat(),
            &self.tensors.concat(),
        ]
        .concat();
        file.resize(file.len().next_multiple_of(32) + self.data, 0);
        file
    }
}

/// The shape of SmolLM2-135M.
fn grouped() -> Writer {
    Writer::default()
        .text("general.architecture", "llama")
        .text("general.name", "A model")
        .number("llama.block_count", 30)
        .number("llama.context_length", 8192)
        .number("llama.embedding_length", 576)
        .number("llama.feed_forward_length", 1536)
        .number("llama.attention.head_count", 9)
        .number("llama.attention.head_count_kv", 3)
        .number("llama.rope.dimension_count", 64)
        .entry("llama.rope.freq_base", 6, &1e5f32.to_le_bytes())
        .array("tokenizer.ggml.tokens", 8, &[text("a"), text(""), text("cd")])
        .array("tokenizer.ggml.scores", 6, &vec![0f32.to_le_bytes().to_vec(); 3])
        .tensor("token_embd.weight", 3)
        .tensor("output_norm.weight", 1)
}

/// The same with its attention converted to a shared latent of rank 64 and 64 rotary dimensions.
fn latent() -> Writer {
    Writer::default()
        .text("general.architecture", "deepseek2")
        .number("deepseek2.block_count", 30)
        .number("deepseek2.embedding_length", 576)
        .number("deepseek2.attention.head_count", 9)
        .number("deepseek2.attention.head_count_kv", 1)
        .number("deepseek2.attention.kv_lora_rank", 64)
        .number("deepseek2.rope.dimension_count", 64)
        .number("deepseek2.attention.key_length", 128)
        .number("deepseek2.attention.value_length", 64)
        .number("deepseek2.attention.key_length_mla", 64)
        .number("deepseek2.attention.value_length_mla", 64)
}

fn read(bytes: &[u8]) -> Result<Gguf, GgufError> {
    Gguf::read(Cursor::new(bytes))
}

fn inspected(file: &Writer) -> Result<Inspection, GgufError> {
    describe(&read(&file.bytes())?, 0, String::new())
}

#[test]
fn a_grouped_model_costs_what_its_groups_cost() {
    let model = inspected(&grouped()).unwrap();
    assert_eq!(model.name.as_deref(), Some("A model"));
    assert_eq!((model.attention, model.heads, model.kv_heads), (Attention::Gqa, 9, 3));
    assert_eq!((model.layers, model.vocabulary, model.context), (30, 3, 8192));
    assert_eq!((model.parameters, model.quantization.as_str()), (4 * 32, "Q8_0"));
    // Design figures: 23.0 kB grouped, 69 kB in full.
    assert_eq!(model.kv_bytes_per_token, 23_040);
    assert_eq!(model.kv_bytes_per_token_gqa, 23_040);
    assert_eq!(model.kv_bytes_per_token_mha, 69_120);
}

#[test]
fn a_latent_model_keeps_its_latent_and_its_rotary_key_alone() {
    let model = inspected(&latent()).unwrap();
    assert_eq!((model.attention, model.latent_rank, model.rope_dims), (Attention::Mla, Some(64), 64));
    assert_eq!(model.kv_bytes_per_token, 7_680);
    assert_eq!(model.kv_bytes_per_token_gqa, 23_040);
    assert_eq!(model.kv_bytes_per_token_mha, 69_120);
}

#[test]
fn without_groups_every_head_is_kept() {
    let file = Writer::default()
        .text("general.architecture", "llama")
        .number("llama.block_count", 2)
        .number("llama.embedding_length", 64)
        .number("llama.attention.head_count", 4);
    let model = inspected(&file).unwrap();
    assert_eq!(model.attention, Attention::Mha);
    assert_eq!(model.kv_bytes_per_token, 2 * 4 * (16 + 16) * 2);
    assert_eq!(model.kv_bytes_per_token, model.kv_bytes_per_token_mha);
    assert_eq!(model.kv_bytes_per_token_gqa * 4, model.kv_bytes_per_token_mha);
}

#[test]
fn layers_may_differ() {
    let heads = |n: &[i32]| n.iter().map(|h| h.to_le_bytes().to_vec()).collect::<Vec<_>>();
    let file = Writer::default()
        .text("general.architecture", "mixed")
        .number("mixed.block_count", 3)
        .number("mixed.embedding_length", 32)
        .array("mixed.attention.head_count", 5, &heads(&[4, 4, 0]))
        .array("mixed.attention.head_count_kv", 5, &heads(&[2, 1, 0]));
    assert_eq!(inspected(&file).unwrap().kv_bytes_per_token, 3 * (8 + 8) * 2);
    let short = Writer::default()
        .text("general.architecture", "mixed")
        .number("mixed.block_count", 3)
        .number("mixed.embedding_length", 32)
        .array("mixed.attention.head_count", 5, &heads(&[4, 4]));
    let message = inspected(&short).unwrap_err().to_string();
    assert!(message.contains("mixed.attention.head_count") && message.contains("each layer"), "{message}");
}

#[test]
fn errors_say_where_and_what() {
    let whole = grouped().bytes();
    let message = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(
        message(b"PK\x03\x04 a zip file"),
        "at byte 0: expected the four bytes \"GGUF\", found \"PK\\x03\\x04\""
    );
    assert_eq!(
        message(b"GG"),
        "it is cut off: expected the four bytes \"GGUF\" at byte 0, but it ends at byte 2"
    );
    let mut old = whole.clone();
    old[4] = 1;
    assert_eq!(message(&old), "at byte 4: expected GGUF version 2 or 3, found version 1");
    let mut many = whole.clone();
    many[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(message(&many).starts_with("at byte 8: expected a number of tensors that fits into the file"));
    assert!(message(&whole[..whole.len() - 1]).contains("expected weights up to byte"));

    let nameless = inspected(&Writer::default()).unwrap_err();
    assert!(matches!(nameless, GgufError::Missing { key, .. } if key == "general.architecture"));
    let huge = Writer::default().text("general.architecture", "x").number("x.block_count", u32::MAX);
    assert!(matches!(inspected(&huge), Err(GgufError::Unexpected { .. })));
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = grouped().bytes();
    assert!(read(&whole).is_ok());
    for cut in 0..whole.len() {
        assert!(read(&whole[..cut]).is_err(), "cut after {cut} bytes");
    }
}

#[test]
fn every_type_of_value_is_read() {
    let file = Writer::default()
        .entry("u8", 0, &[200])
        .entry("i8", 1, &[0xff])
        .entry("u16", 2, &[1, 2])
        .entry("i16", 3, &[0xfe, 0xff])
        .entry("i32", 5, &7i32.to_le_bytes())
        .entry("f32", 6, &0.5f32.to_le_bytes())
        .entry("bool", 7, &[1])
        .entry("u64", 10, &u64::MAX.to_le_bytes())
        .entry("i64", 11, &i64::MIN.to_le_bytes())
        .entry("f64", 12, &0.25f64.to_le_bytes())
        .array("some negative", 5, &[1i32, -1, 3].map(|n| n.to_le_bytes().to_vec()))
        .number("after", 4);
    let values = read(&file.bytes()).unwrap().metadata;
    assert_eq!(values["u8"], Value::Unsigned(200));
    assert_eq!(values["i8"], Value::Signed(-1));
    assert_eq!(values["u16"], Value::Unsigned(513));
    assert_eq!(values["i16"], Value::Signed(-2));
    assert_eq!(values["i32"], Value::Unsigned(7));
    assert_eq!(values["f32"], Value::Float(0.5));
    assert_eq!(values["bool"], Value::Bool(true));
    assert_eq!(values["u64"], Value::Unsigned(u64::MAX));
    assert_eq!(values["i64"], Value::Signed(i64::MIN));
    assert_eq!(values["f64"], Value::Float(0.25));
    assert_eq!(values["some negative"], Value::Array { length: 3 });
    assert_eq!(values["after"], Value::Unsigned(4), "the reader stays in step");
}

/// Reads and describes whatever it is; only panics and endless loops fail.
fn survives(bytes: &[u8]) {
    if let Ok(gguf) = read(bytes) {
        describe(&gguf, bytes.len() as u64, String::new()).ok();
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        survives(&bytes);
        survives(&[b"GGUF\x03\0\0\0", &bytes[..]].concat());
    }

    #[test]
    fn damage_never_panics(
        latent_model: bool,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = if latent_model { latent().bytes() } else { grouped().bytes() };
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        survives(&bytes);
    }

    #[test]
    fn extreme_numbers_never_panic(numbers in proptest::collection::vec(
        prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()], 11
    )) {
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap_or(0);
        let file = Writer::default()
            .text("general.architecture", "x")
            .number("x.block_count", next() % 5000)
            .number("x.embedding_length", next())
            .number("x.attention.head_count", next())
            .number("x.attention.head_count_kv", next())
            .number("x.attention.key_length", next())
            .number("x.attention.value_length", next())
            .number("x.attention.key_length_mla", next())
            .number("x.attention.value_length_mla", next())
            .number("x.attention.kv_lora_rank", next())
            .number("x.feed_forward_length", next())
            .number("general.alignment", next());
        survives(&file.bytes());
    }
}
