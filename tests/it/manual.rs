//! The manual does what it says: its commands are run as they stand, by a shell, against real parts, and its
//! settings are taken by the loader of site files.

mod commands;
mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::agent::{Rig, honest};
use crate::peers::soon;
use crate::steps::Plant;
use commands::{ROWS, Row};

/// Where a command is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// In an empty folder, beside a plant.
    Init,
    /// With a site file, beside a plant ten times as fast as a real one.
    Commissioning,
    /// The same, beside a plant that takes no time.
    Steps,
    /// Beside a running agent, with its site file.
    Running,
    /// With what that agent left.
    Stopped,
    /// Not here, for this reason.
    Never(&'static str),
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<(PathBuf, String)> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().path());
    let docs = docs.filter(|p| p.extension().is_some_and(|e| e == "md"));
    docs.chain([root().join("README.md")]).map(|p| (p.clone(), std::fs::read_to_string(p).unwrap())).collect()
}

/// Blocks of code of a page: what stands behind the marks, and the text.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap_or((block, "")))
}

/// Without what a shell leaves out: comments.
fn command(line: &str) -> &str {
    line.split_once(" #").map_or(line, |(command, _)| command).trim()
}

/// Whole commands of the manual: lines of blocks, and what a sentence says with options.
fn commands_of_the_manual() -> BTreeSet<String> {
    let is_shell = |kind: &str| kind.is_empty() || kind == "sh";
    let begins =
        |line: &str| ["isotherm ", "./", "packaging/", "systemctl "].iter().any(|b| line.starts_with(b));
    let mut found = BTreeSet::new();
    for (_, text) in pages() {
        for (_, block) in blocks(&text).filter(|(kind, _)| is_shell(kind)) {
            found.extend(block.lines().map(str::trim).filter(|l| begins(l)).map(|l| command(l).to_owned()));
        }
        for sentence in text.split("```").step_by(2) {
            let joined = sentence.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            let spans = joined.split('`').skip(1).step_by(2);
            let whole =
                spans.filter(|s| (s.starts_with("isotherm ") || s.starts_with("./")) && s.contains(" --"));
            found.extend(whole.map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_command_is_run_or_says_why_not() {
    let known: BTreeSet<String> = ROWS.iter().map(|row| row.command.to_owned()).collect();
    assert_eq!(known.len(), ROWS.len(), "a command is listed twice");
    let written = commands_of_the_manual();
    let missing: Vec<_> = written.difference(&known).collect();
    assert!(missing.is_empty(), "commands that no row runs: {missing:#?}");
    let gone: Vec<_> = known.difference(&written).collect();
    assert!(gone.is_empty(), "rows of commands that the manual has no more: {gone:#?}");
    let run = ROWS.iter().filter(|row| !matches!(row.stage, Stage::Never(_))).count();
    assert!(run > 35, "{run}");
}

fn rows(stage: Stage) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |row| row.stage == stage)
}

/// `isotherm` and what else a shell finds in a folder of the site's.
fn shell(dir: &Path, line: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_isotherm"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = [program.parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path));
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(dir)
        .env("PATH", std::env::join_paths(dirs).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command with words of it replaced by what they stand for.
async fn runs(dir: &Path, row: &Row, stand_for: &[(&str, String)]) -> Output {
    let line = stand_for.iter().fold(row.command.to_owned(), |line, (word, is)| line.replace(word, is));
    let mut child = shell(dir, &line).spawn().unwrap();
    child.stdin.take().unwrap().write_all(row.typed.as_bytes()).await.unwrap();
    // Hours of the plant, with a debug build on a busy machine.
    let ended = tokio::time::timeout(Duration::from_mins(4), child.wait_with_output());
    let output = ended.await.unwrap_or_else(|_| panic!("{line}: does not end")).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(row.codes.contains(&output.status.code().unwrap()), "{line}: {}: {said}", output.status);
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_site_file_is_made() {
    let plant = Plant::start(Some(10.0), |t| t).await;
    let (broker, modbus) = plant.ports();
    let stand_for = [
        ("10.0.0.5", format!("127.0.0.1:{broker}")),
        ("--listen 60", "--listen 2".to_owned()),
        ("10.0.0.21", format!("127.0.0.1:{modbus}")),
        ("holding:0-99", "holding:0-4".to_owned()),
        ("holding:0-9 ", "holding:0-4 ".to_owned()),
    ];
    for row in rows(Stage::Init) {
        let dir = tempfile::tempdir().unwrap();
        runs(dir.path(), row, &stand_for).await;
        let made = std::fs::read_to_string(dir.path().join("site.toml")).unwrap();
        assert!(made.contains("made by `isotherm init`"), "{made}");
        assert_eq!(made.contains("[[device]]"), row.command.contains("--scan"), "{made}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_commissioned() {
    let quick = |t: String| t.replace("[link]", "[link]\nwatchdog = \"18s\"");
    let plant = Plant::start(Some(10.0), quick).await;
    for row in rows(Stage::Commissioning) {
        if row.command.starts_with("isotherm run") {
            runs_until_stopped(plant.dir.path(), row.command).await;
        } else {
            runs(plant.dir.path(), row, &[]).await;
        }
    }
    let plant = Plant::start(None, |t| t).await;
    for row in rows(Stage::Steps) {
        runs(plant.dir.path(), row, &[]).await;
    }
}

/// What ends only when it is told to.
async fn runs_until_stopped(dir: &Path, line: &str) {
    let log = dir.join("stderr.txt");
    let said = std::fs::File::create(&log).unwrap();
    let mut agent: Child = shell(dir, &format!("exec {line}")).stderr(said).spawn().unwrap();
    soon("the console listens", async {
        while !std::fs::read_to_string(&log).unwrap().contains("console on http") {
            assert!(agent.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&log).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(agent.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = soon("the agent ends", agent.wait()).await.unwrap();
    assert!(ended.success(), "{line}: {}", std::fs::read_to_string(&log).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_operated() {
    let edit = |t: String| {
        t.replace(
            "key = \"audit.key\"",
            "key = \"audit.key\"\ncheckpoint_every = 8\ncheckpoint_file = \"checkpoints.jsonl\"",
        )
        .replace("[console]", "[console]\nusers = \"users.toml\"")
    };
    let Some(mut rig) = Rig::start("manual", edit).await else { return };
    let dir = rig.dir.path().to_owned();
    rig.model.now_says(honest(9.0, "Raise"));
    rig.frames(16).await;
    std::fs::create_dir(dir.join("prompts")).unwrap();
    let prompt = std::fs::read_to_string(root().join("prompts/decide.txt")).unwrap();
    std::fs::write(dir.join("prompts/decide.txt"), prompt + "Be brief.\n").unwrap();
    let decision = rig.records().into_iter().find(|r| r.kind.as_str() == "decision").unwrap();
    let stand_for = [("1234", decision.seq.to_string()), ("FILE", "site.toml".to_owned())];
    for row in rows(Stage::Running) {
        if row.command.starts_with("isotherm upgrade accept") {
            shadow_is_over(&mut rig).await;
        }
        runs(&dir, row, &stand_for).await;
        if row.command.contains("audit export") {
            std::fs::copy(dir.join("evidence/public-key.hex"), dir.join("public-key.hex")).unwrap();
            std::fs::remove_dir_all(dir.join("evidence")).unwrap();
        } else if row.command.starts_with("isotherm upgrade accept") {
            rig.until("the upgrade is done", |r| r.events().iter().any(|e| e == "upgrade_accepted")).await;
        }
    }
    rig.frames(2).await;
    assert_eq!(rig.register(0).await, 0, "the last one hands the plant back");
    rig.stop().await;

    // A log and, while it is there, what it has not taken in yet.
    for end in ["", "-wal"] {
        let from = dir.join(format!("audit.db{end}"));
        if from.exists() {
            std::fs::copy(from, dir.join(format!("isotherm-audit.db{end}"))).unwrap();
        }
    }
    let other = std::fs::read_to_string(dir.join("site.toml")).unwrap().replace("max = 16", "max = 8");
    std::fs::write(dir.join("other.toml"), other).unwrap();
    for row in rows(Stage::Stopped) {
        runs(&dir, row, &[("LOG", "audit.db".to_owned())]).await;
    }
}

/// The candidate has been compared, and twelve hours are over.
async fn shadow_is_over(rig: &mut Rig) {
    while rig.bodies("candidate").is_empty() {
        rig.frames(4).await;
    }
    rig.send(jiff::SignedDuration::from_hours(12), |now| crate::agent::frame_text(now, 22.0)).await;
    rig.frames(8).await;
    rig.until("the shadow period is over", |r| r.events().iter().any(|e| e == "upgrade_due")).await;
}
