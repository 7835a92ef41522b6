//! The computed beginning of a prompt, kept in a file: after a restart the first decision does not compute
//! again what never changes for a site.
//!
//! A file is named by what its content depends on (model, build, how it is computed, tokens) and by the SHA-256 of
//! the content itself. One that is not what its name says is removed and made anew.

use std::fs;
use std::path::{Path, PathBuf};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::token::LlamaToken;

use crate::hex;

/// Files that stay in the folder: a site has one beginning at a time.
const FILES: usize = 4;
/// What is larger is computed sooner than it is read.
const LARGEST: usize = 64 << 20;
const ENDING: &str = ".prefix";

pub(super) struct Kept {
    folder: PathBuf,
    made_with: String,
    /// The beginning that was read or written last.
    known: Option<String>,
}

impl Kept {
    /// `made_with`: all that the content of files depends on, but for tokens.
    pub(super) fn new(folder: PathBuf, made_with: String) -> Self {
        Self { folder, made_with, known: None }
    }

    /// Fills a sequence with the beginning, where there is a file of it; else the sequence is empty.
    pub(super) fn recall(&mut self, context: &mut LlamaContext<'_>, seq: i32, prefix: &[LlamaToken]) -> bool {
        let key = self.key(prefix);
        if self.known.as_ref() == Some(&key) {
            return false;
        }
        let Some(path) = self.files().into_iter().find(|p| stem(p).is_some_and(|s| s.starts_with(&key)))
        else {
            return false;
        };
        match read(context, &path, seq, prefix) {
            Ok(()) => {
                self.known = Some(key);
                true
            }
            Err(why) => {
                tracing::warn!(file = %path.display(), %why, "a kept beginning of the prompt is computed anew");
                remove(&path);
                false
            }
        }
    }

    /// Writes what a sequence holds now, the beginning and no more, unless it is in a file already.
    pub(super) fn keep(&mut self, context: &LlamaContext<'_>, seq: i32, prefix: &[LlamaToken]) {
        let key = self.key(prefix);
        if self.known.as_ref() == Some(&key) {
            return;
        }
        if let Err(why) = self.write(context, seq, prefix, &key) {
            tracing::warn!(folder = %self.folder.display(), %why, "the beginning of the prompt is not kept");
        }
        self.known = Some(key);
    }

    fn write(
        &self,
        context: &LlamaContext<'_>,
        seq: i32,
        prefix: &[LlamaToken],
        key: &str,
    ) -> Result<(), String> {
        fs::create_dir_all(&self.folder).map_err(|e| e.to_string())?;
        let unfinished = self.folder.join(format!("{}{ENDING}-{}", key, std::process::id()));
        let written = context
            .state_seq_save_file(&unfinished, seq, prefix)
            .map_err(|e| e.to_string())
            .and_then(|_| fs::read(&unfinished).map_err(|e| e.to_string()))
            .and_then(|content| {
                if content.len() > LARGEST {
                    return Err(format!("{} bytes are more than {LARGEST}", content.len()));
                }
                let name = format!("{key}-{}{ENDING}", hex::sha256(&content));
                fs::rename(&unfinished, self.folder.join(name)).map_err(|e| e.to_string())
            });
        if written.is_err() {
            remove(&unfinished);
        }
        for old in self.files().iter().skip(FILES) {
            remove(old);
        }
        written
    }

    fn key(&self, prefix: &[LlamaToken]) -> String {
        let tokens: Vec<String> = prefix.iter().map(|t| t.0.to_string()).collect();
        hex::sha256(format!("{}\n{}", self.made_with, tokens.join(" ")).as_bytes())
    }

    /// What has been kept, newest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter(|e| stem(&e.path()).is_some())
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        files.into_iter().map(|(_, path)| path).collect()
    }
}

/// A kept file's name without its ending; `None` for any other file.
fn stem(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(ENDING)
}

fn read(context: &mut LlamaContext<'_>, path: &Path, seq: i32, prefix: &[LlamaToken]) -> Result<(), String> {
    let content = fs::read(path).map_err(|e| e.to_string())?;
    let expected = stem(path).and_then(|s| s.split_once('-')).map_or("", |(_, hash)| hash);
    if hex::sha256(&content) != expected {
        return Err("its content is not what was written".to_owned());
    }
    let (tokens, _) = context.state_seq_load_file(path, seq, prefix.len()).map_err(|e| e.to_string())?;
    if tokens == prefix { Ok(()) } else { Err("it holds another beginning".to_owned()) }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "cannot be removed");
    }
}
