//! A script in place of the process, which answers as no reasoner should.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use isotherm::reason::protocol::{self, MAX_MESSAGE, Reply};
use isotherm::reason::{Completion, Failure, Launch, Reasoner};
use jiff::SignedDuration;
use serde_json::json;

use super::{LOADING, ask_all, decision, load, request};

fn answer(id: u64, text: &str) -> Vec<u8> {
    let completion = Completion { text: text.to_owned(), ..Completion::default() };
    protocol::encode(&Reply::Answer { id, result: Ok(completion) }).unwrap()
}

/// A script in place of the reasoner: it takes the order to load and says that it has loaded.
struct Fake {
    _folder: tempfile::TempDir,
    launch: Launch,
}

impl Fake {
    /// `then` runs after loading; it finds `files` in its folder.
    fn new(then: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let load = load("fake.gguf".into());
        let order = protocol::encode(&protocol::Command::Load(load.clone())).unwrap();
        let facts = json!({
            "sha256": "", "architecture": "fake", "quantization": "", "parameters": 0, "file_bytes": 0,
            "context": 0, "kv_bytes": 0, "threads": 0, "build": "", "load_ms": 0, "pid": 0,
        });
        let loaded = Reply::Loaded(serde_json::from_value(facts).unwrap());
        std::fs::write(folder.path().join("loaded"), protocol::encode(&loaded).unwrap()).unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let script = format!(
            "#!/bin/sh\ncd '{}'\nhead -c {} >/dev/null\ncat loaded\n{then}\n",
            folder.path().display(),
            order.len()
        );
        let program = folder.path().join("fake");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Self { _folder: folder, launch: Launch { program, load, group: None } }
    }

    async fn started(&self) -> Reasoner {
        let reasoner = Reasoner::start(self.launch.clone()).unwrap();
        reasoner.ready(LOADING).await.unwrap();
        reasoner
    }
}

#[tokio::test]
async fn garbage_from_the_process_is_called_that() {
    let huge = u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes().to_vec();
    for garbage in [
        b"Segmentation fault, or so\n".to_vec(),
        huge,
        [&9u32.to_be_bytes()[..], b"{not json"].concat(),
        answer(17, "to a question nobody asked"),
        protocol::encode(&Reply::Refused { why: "too late for that".into() }).unwrap(),
    ] {
        // Takes the length of the question, so that it is asked first.
        let fake = Fake::new("head -c 4 >/dev/null; cat garbage; exec sleep 100", &[("garbage", garbage)]);
        let reasoner = fake.started().await;
        let answer = reasoner.ask(request("", decision())).await;
        assert!(matches!(answer, Err(Failure::Garbled { .. })), "{answer:?}");
        reasoner.ready(LOADING).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_comes_late_is_not_taken_for_the_next() {
    let then = "head -c 4 >/dev/null; sleep 1; cat one two; exec sleep 100";
    let fake = Fake::new(then, &[("one", answer(1, "one")), ("two", answer(2, "two"))]);
    let reasoner = fake.started().await;
    let mut first = request("", decision());
    first.deadline = SignedDuration::from_millis(100);
    assert_eq!(reasoner.ask(first).await, Err(Failure::Late { deadline_ms: 100 }));
    assert_eq!(reasoner.ask(request("", decision())).await.unwrap().text, "two");
}

#[tokio::test]
async fn last_words_are_passed_on() {
    let fake = Fake::new("head -c 4 >/dev/null; echo 'GGML_ASSERT(x > 0) failed' >&2; kill -ABRT $$", &[]);
    let reasoner = fake.started().await;
    let answer = reasoner.ask(request("", decision())).await;
    let Err(Failure::Died { how }) = answer else { panic!("{answer:?}") };
    assert!(how.contains("signal: 6") && how.contains("GGML_ASSERT(x > 0) failed"), "{how}");
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let then = "head -c 4 >/dev/null; sleep 1; cat two one; exec sleep 100";
    let mut fake = Fake::new(then, &[("one", answer(1, "one")), ("two", answer(2, "two"))]);
    fake.launch.load.sequences = 2;
    let reasoner = Arc::new(fake.started().await);
    let answers = ask_all(&reasoner, vec![request("", decision()), request("", decision())]).await;
    let texts: Vec<String> = answers.into_iter().map(|a| a.unwrap().text).collect();
    assert_eq!(texts, ["one", "two"]);
}
