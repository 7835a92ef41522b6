//! What people get wrong: it is refused with what was expected, and nothing is lost by it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{code, isotherm, root, shipped, stderr, stdout};

/// The exit code, and words that the message on stderr must hold.
#[track_caller]
fn ends(args: &[&str], expected: i32, words: &[&str]) {
    let output = isotherm(args);
    let message = stderr(&output);
    assert_eq!(code(&output), expected, "{args:?}: {message}{}", stdout(&output));
    for word in words {
        assert!(message.contains(word), "{args:?}: {message:?} does not say {word:?}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A reader that has seen enough is none of our business; a report that nobody can have got is.
#[test]
fn a_closed_stdout_is_quiet_and_a_full_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first.toml"), dir.path().join("second.toml"));
    let frames = dir.path().join("frames.jsonl");
    let (site, model) = (shipped("frontier"), root().join("models/isotherm.gguf"));
    let commands: &[&[&str]] = &[
        &["schema", "site"],
        &["doctor", "--json"],
        &["doctor"],
        &["model", "inspect", text(&model)],
        &["init", "--yes", "--out"],
        &["replay", text(&frames), "--site", &site],
        &["audit", "verify", "--path", "Cargo.toml"],
    ];
    fs::write(&frames, "{\"time\":\"2026-01-31T12:00:00Z\",\"signals\":{\"cdu_01_heat\":900}}\n").unwrap();
    for args in commands {
        let run = |stdout: Stdio, out: &Path| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_isotherm"));
            command.current_dir(root()).args(*args).stdout(stdout).stderr(Stdio::piped());
            if args.contains(&"--out") {
                command.arg(out);
            }
            let output = command.output().unwrap();
            (code(&output), stderr(&output))
        };
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (exit, message) = run(full.into(), &first);
        assert!(exit == 2 && message.contains("cannot print: "), "{args:?}: {exit} {message}");
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        let (exit, message) = run(closed.into(), &second);
        assert!(exit < 2 && !message.contains("print"), "{args:?}: {exit} {message}");
    }
}

#[test]
fn numbers_that_have_no_end_or_no_beginning_are_refused() {
    let expected: &[&str] = &["expected more than"];
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("lessons.jsonl");
    for hours in ["0", "-1", "nan", "inf"] {
        ends(&["model", "lessons", text(&out), "--hours", hours], 2, expected);
        ends(&["demo", "--headless", "--hours", hours], 2, expected);
        ends(&["bench", "control", "--hours", hours], 2, expected);
        ends(&["bench", "log", "--out", text(dir.path()), "--hours", hours], 2, expected);
        ends(&["bench", "twin", "--hours", hours], 2, expected);
    }
    ends(&["bench", "twin", "--hours", "2.5"], 2, &["expected more than 2.5"]);
    ends(&["model", "lessons", text(&out), "--hours", "1"], 2, &["expected more than 1"]);
    for bench in ["control", "resolution", "twin", "workload"] {
        ends(&["bench", bench, "--seeds", "0"], 2, &["0 is not in 1.."]);
    }
    ends(&["bench", "log", "--out", text(dir.path()), "--seeds", "0"], 2, &["0 is not in 1.."]);
    ends(&["model", "eval", "x.gguf", "--count", "0"], 2, &["0 is not in 1.."]);
    ends(&["model", "lessons", text(&out), "--of-each", "0"], 2, &["0 is not in 1.."]);
    assert!(!out.exists());
}

/// The agent is not there, so far does it get: a number below 0 is a value and no option.
#[test]
fn a_setpoint_may_be_below_zero() {
    ends(&["operator", "--socket", "/nowhere/at.sock", "set", "chws_sp", "-7"], 3, &["/nowhere/at.sock"]);
}

#[test]
fn what_does_not_fit_a_demo_is_named() {
    let dir = tempfile::tempdir().unwrap();
    ends(
        &["demo", "--plant", "liquid", "--scenario", "air-winter", "--headless"],
        2,
        &["scenario air-winter is of plant air, --plant says liquid"],
    );
    // A file, whatever it is called.
    let mine = dir.path().join("mine");
    fs::write(&mine, "base = \"liquid\"\n").unwrap();
    ends(&["demo", "--scenario", text(&mine)], 2, &["mine is of plant liquid, --plant says air"]);
    ends(&["demo", "--scenario", "liquid-spring"], 2, &["no shipped scenario", "liquid-faults"]);
    ends(&["demo", "--headless", "--dir", text(&mine)], 2, &["mine", "give another"]);
    ends(&["demo", "--headless", "--listen", "nonsense"], 2, &["--headless", "--listen"]);
}

#[test]
fn a_file_that_is_there_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept.gguf");
    fs::copy(root().join("models/isotherm.gguf"), &kept).unwrap();
    let before = fs::metadata(&kept).unwrap();
    let kept = text(&kept);
    ends(&["model", "requantize", kept, kept], 2, &["kept.gguf", "is there already"]);
    ends(&["model", "compress", kept, kept, "--rank", "8"], 2, &["kept.gguf", "is there already"]);
    ends(&["model", "lessons", kept, "--count", "1"], 2, &["kept.gguf", "give a new one"]);
    let after = fs::metadata(kept).unwrap();
    assert_eq!((after.len(), after.modified().unwrap()), (before.len(), before.modified().unwrap()));
}

#[test]
fn nobody_in_a_file_of_users_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.toml");
    for of in ["user", "token"] {
        ends(&["console", of, "list", "--users", text(&file)], 2, &["users.toml", "user add"]);
    }
    fs::write(&file, "").unwrap();
    for of in ["user", "token"] {
        ends(&["console", of, "list", "--users", text(&file)], 0, &[&format!("no {of}s in "), "users.toml"]);
    }
}

#[test]
fn an_audit_log_that_is_none_is_named_for_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    ends(&["audit", "verify", "--path", text(dir.path())], 2, &["identity.json", "folder"]);
    ends(&["audit", "list", "--path", text(dir.path())], 2, &["directory"]);
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("note"), "").unwrap();
    let log = super::recordings::log(dir.path(), &[]);
    ends(&["audit", "export", text(&full), "--path", text(&log)], 2, &["full", "is not empty", "new folder"]);
    let nothing = dir.path().join("none.jsonl");
    fs::write(&nothing, "").unwrap();
    let against = ["audit", "verify", "--path", text(&log), "--against", text(&nothing)];
    ends(&against, 2, &["none.jsonl: has no checkpoint"]);
}

/// A device that does not answer is a peer that cannot be reached, as a broker is.
#[test]
fn a_scan_of_nothing_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("site.toml");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scan = format!("plc={free}:holding:0-9");
    ends(&["init", "--yes", "--scan", &scan, "--out", text(&out)], 3, &["--scan", "plc", "cannot connect"]);
    assert!(!out.exists(), "there is nothing to be said of it");

    assert_eq!(code(&isotherm(&["init", "--yes", "--out", text(&out)])), 1);
    let made = fs::read_to_string(&out).unwrap();
    assert!(!made.contains("listened to"), "there was no broker: {made}");
}
