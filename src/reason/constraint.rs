//! The grammar that holds the model to a schema: llguidance over the model's own vocabulary.

use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{TokEnv, TokTrie, TokenId, TokenizerEnv};

use super::Failure;
use super::protocol::Pace;

/// Compiles schemas for one model. Built once: it walks the whole vocabulary.
pub(super) struct Grammars {
    factory: ParserFactory,
    /// The last schema and its grammar at the start of a reply. A site asks with one schema, except under directives.
    last: Option<(Value, Matcher)>,
    pace: Pace,
}

impl Grammars {
    pub(super) fn new(model: &Arc<LlamaModel>, pace: Pace) -> Result<Self, Failure> {
        let vocabulary: TokEnv = Arc::new(Vocabulary {
            tokens: LlamaSampler::llguidance_tok_env(model),
            model: Arc::clone(model),
        });
        let mut factory =
            ParserFactory::new_simple(&vocabulary).map_err(|e| Failure::Compute { why: e.to_string() })?;
        factory.quiet().limits_mut().verbose_errors = false;
        Ok(Self { factory, last: None, pace })
    }

    /// The grammar of `schema` at the start of a reply.
    pub(super) fn matcher(&mut self, schema: &Value) -> Result<Matcher, Failure> {
        if let Some((known, matcher)) = &self.last
            && known == schema
        {
            return Ok(matcher.deep_clone());
        }
        let mut fixed = schema.clone();
        let Some(object) = fixed.as_object_mut() else {
            return Err(Failure::Schema { why: format!("expected an object, found {schema}") });
        };
        // Whitespace the model may choose wastes tokens, and nothing after it can be forced.
        if self.pace == Pace::Fast {
            let fixed = json!({ "whitespace_flexible": false, "item_separator": ",", "key_separator": ":" });
            object.insert("x-guidance".to_owned(), fixed);
        }
        let matcher = Matcher::new(self.factory.create_parser(TopLevelGrammar::from_json_schema(fixed)));
        if let Some(why) = matcher.get_error() {
            return Err(Failure::Schema { why });
        }
        self.last = Some((schema.clone(), matcher.deep_clone()));
        Ok(matcher)
    }

    /// The grammar of text that a regular expression matches.
    pub(super) fn regex(&self, pattern: &str) -> Result<Matcher, Failure> {
        let matcher = Matcher::new(self.factory.create_parser(TopLevelGrammar::from_regex(pattern)));
        matcher.get_error().map_or(Ok(matcher), |why| Err(Failure::Schema { why }))
    }

    pub(super) fn tokens(&self) -> &TokTrie {
        self.factory.tok_env().tok_trie()
    }
}

/// The vocabulary with the model's own tokenizer, so that forced text becomes the tokens the model was
/// trained on.
struct Vocabulary {
    tokens: TokEnv,
    model: Arc<LlamaModel>,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        self.tokens.tok_trie()
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        let tokens: Vec<TokenId> =
            self.model.vocab().tokenize(text, false, false).iter().map(|t| t.0.cast_unsigned()).collect();
        // Some tokenizers put a space in front, or replace bytes that are not UTF-8 yet.
        if self.tok_trie().decode_raw(&tokens) == text {
            tokens
        } else {
            self.tok_trie().greedy_tokenize(text)
        }
    }
}
