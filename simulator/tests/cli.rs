//! The commands as people type them: what they get wrong is refused, and nothing is overwritten.

use std::fs::{self, File};
use std::process::{Command, Stdio};

fn run(args: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isotherm-sim"));
    let output = command.args(args).stdout(stdout).stderr(Stdio::piped()).output().expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn refused(args: &[&str], word: &str) {
    let (code, message) = run(args, Stdio::null());
    assert_eq!(code, Some(2), "{args:?}: {message}");
    assert!(message.contains(word), "{args:?}: {message}");
}

#[test]
fn hours_are_a_number_above_zero() {
    for hours in ["0", "-1", "nan", "inf"] {
        refused(&["run", "--hours", hours], "expected a number above 0");
        refused(&["serve", "--hours", hours], "expected a number above 0");
    }
}

#[test]
fn a_setpoint_is_given_a_number() {
    for value in ["nan", "inf", "warm", ""] {
        refused(&["run", "--set", &format!("chws_sp={value}")], "is not a finite number");
    }
    refused(&["run", "--set", "chws_sp"], "expected NAME=VALUE");
}

#[test]
fn a_trace_and_its_picture_are_new_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (csv, picture) = (path("day.csv"), path("day.svg"));
    let trace = |out: &str, plot: &str| {
        run(&["trace", "--hours", "0.1", "--out", out, "--plot", plot], Stdio::null())
    };
    assert_eq!(trace(&csv, &picture), (Some(0), String::new()));
    let drawn = fs::read(&picture).expect("it was drawn");
    refused(&["trace", "--hours", "0.2", "--out", &csv], "is there already");
    refused(&["trace", "--hours", "0.2", "--out", &path("x.csv"), "--plot", &picture], "is there already");
    refused(&["trace", "--out", &path("x.csv"), "--plot", &path("x.png")], ".svg");
    refused(&["trace", "--out", &path("x.txt")], ".csv or .parquet");
    refused(&["trace", "--hours", "0.1", "--out", &path("nowhere/x.csv")], "nowhere/x.csv");
    assert_eq!(fs::read(&picture).expect("it is there"), drawn);
    assert!(!dir.path().join("x.csv").exists());
}

#[test]
fn a_closed_stdout_is_quiet_and_a_full_one_is_told() {
    let args = ["run", "--hours", "0.1", "--json"];
    let full = File::options().write(true).open("/dev/full").expect("Linux");
    let (code, message) = run(&args, full.into());
    assert!(code == Some(2) && message.contains("cannot print"), "{code:?} {message}");
    let (reader, closed) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(run(&args, closed.into()), (Some(0), String::new()));
}

#[test]
fn a_scenario_file_needs_no_ending() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("mine");
    fs::write(&file, "base = \"air\"\n").expect("it is written");
    let mine = file.display().to_string();
    assert_eq!(run(&["run", "--hours", "0.1", "--scenario", &mine], Stdio::null()), (Some(0), String::new()));
    refused(&["run", "--scenario", "mine"], "no shipped scenario");
}
