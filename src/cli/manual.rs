//! Every `isotherm` command in the manual is one that this program takes.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Cli;

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|e| e.unwrap().path());
    let docs = docs.filter(|p| p.extension().is_some_and(|e| e == "md"));
    docs.chain([root.join("README.md"), root.join("models/README.md"), root.join("training/README.md")])
        .collect()
}

/// The words of a shell command up to a comment, a pipe or a redirection; `None` where it has a placeholder.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (' ', None) => words.push(String::new()),
            ('#' | '|' | '>' | '&' | ';', None) if words.last().is_some_and(String::is_empty) => break,
            ('…' | '[', None) => return None,
            (c, _) => words.last_mut()?.push(c),
        }
    }
    words.retain(|w| !w.is_empty());
    (words.first()? == "isotherm").then_some(words)
}

/// Not built into this binary.
fn is_left_out(words: &[String]) -> bool {
    let word = |i: usize| words.get(i).map_or("", String::as_str);
    match (word(1), word(2)) {
        ("demo", _) | ("model", "lessons") => cfg!(not(feature = "demo")),
        ("reasoner", _) => cfg!(not(feature = "llama")),
        ("bench", "decide") | ("model", "eval") => cfg!(not(all(feature = "demo", feature = "llama"))),
        ("bench", sub) => sub != "guard" && sub != "ingest" && cfg!(not(feature = "demo")),
        ("model", sub) => sub != "inspect" && cfg!(not(feature = "llama")),
        ("audit", "archive") => cfg!(not(feature = "parquet")),
        _ => false,
    }
}

/// A whole command in a block must be taken as it is; one that is mentioned in a sentence may leave out what
/// the command requires.
fn check(page: &Path, line: &str, whole: bool) -> bool {
    let Some(words) = words(line).filter(|words| !is_left_out(words)) else { return false };
    if let Err(e) = Cli::try_parse_from(&words) {
        let help = matches!(
            e.kind(),
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        );
        let part = matches!(e.kind(), ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand);
        assert!(help || (part && !whole), "{}: {line}\n{e}", page.display());
    }
    true
}

#[test]
fn commands_in_the_manual_are_commands() {
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for (i, part) in text.split("```").enumerate() {
            let lines: Vec<String> = part.replace("\\\n", " ").lines().map(|l| l.trim().to_owned()).collect();
            if i % 2 == 1 {
                checked += lines.iter().filter(|l| check(&page, l, true)).count();
            } else {
                let joined = lines.join(" ");
                let spans = joined.split('`').skip(1).step_by(2);
                checked += spans.filter(|span| check(&page, span, false)).count();
            }
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn a_command_that_is_none_is_found() {
    let page = Path::new("page");
    assert!(check(page, "isotherm check --site site.toml   # reads", true));
    assert!(!check(page, "isotherm operator …", true));
    assert!(!check(page, "cargo test", true));
    for wrong in ["isotherm chekc --site a", "isotherm check --sight a", "isotherm check"] {
        assert!(std::panic::catch_unwind(|| check(page, wrong, true)).is_err(), "{wrong}");
    }
    assert!(check(page, "isotherm check", false), "mentioned in a sentence");
}

#[cfg(all(feature = "demo", feature = "llama", feature = "parquet"))]
mod reference {
    use std::fmt::Write as _;
    use std::path::Path;

    use clap::{Command, CommandFactory as _};

    use super::super::Cli;

    /// A command and all below it, as `--help` says them.
    fn described(out: &mut String, command: &Command, path: &str) {
        let mut shown = command.clone().bin_name(path);
        let help = shown.render_long_help().to_string();
        let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        write!(out, "\n## {path}\n\n```text\n{}\n```\n", help.join("\n")).unwrap();
        let below = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
        for sub in below {
            described(out, sub, &format!("{path} {}", sub.get_name()));
        }
    }

    /// The reference of the command line is what the program says of itself. `UPDATE=1` writes it.
    #[test]
    fn the_reference_of_the_command_line_is_in_step() {
        let mut text = String::from(
            "# The command line\n\nWritten from the program's own `--help`; a test keeps it so. Exit codes: 0 good, 1 a check found \
             something, 2 usage or configuration, 3 a peer could not be reached.\n",
        );
        described(&mut text, &Cli::command(), "isotherm");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/commands.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == text,
            "docs/reference/commands.md is out of step: run the tests with UPDATE=1 and commit it"
        );
    }
}
