//! The manual: its links lead somewhere, its book has every page, its tests exist, and its reference is what
//! the code says. That its commands are ones is tested beside the command line (`src/cli/manual.rs`), that
//! they do what it says in `manual`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    for dir in ["docs", "docs/reference"] {
        let entries = std::fs::read_dir(root().join(dir)).unwrap().map(|e| e.unwrap().path());
        pages.extend(entries.filter(|p| p.extension().is_some_and(|e| e == "md")));
    }
    pages
}

/// Targets of Markdown links in a text.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut followed = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            followed += 1;
            let to = page.parent().unwrap().join(file);
            assert!(to.exists(), "{}: {link}", page.display());
            // The book has no other pages than its own.
            let book = root().join("docs").canonicalize().unwrap();
            let inside = to.canonicalize().unwrap().starts_with(&book);
            assert!(inside || !page.starts_with(root().join("docs")), "{}: {link}", page.display());
        }
    }
    assert!(followed > 40, "{followed}");
}

#[test]
fn the_book_has_every_page_of_the_manual() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> =
        links(&summary).into_iter().map(|l| root().join("docs").join(l)).collect();
    let written: BTreeSet<PathBuf> = pages()
        .into_iter()
        .filter(|p| p.starts_with(root().join("docs")) && !p.ends_with("SUMMARY.md"))
        .collect();
    assert_eq!(listed, written);
    let book: toml::Table = std::fs::read_to_string(root().join("docs/book.toml")).unwrap().parse().unwrap();
    assert_eq!(book["book"]["src"].as_str(), Some("."));
}

/// All Rust of the program and its tests.
fn sources(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            out.push((path, text));
        }
    }
}

/// `module::test` in the safety case and in the list of errors: a test of that name in a file or folder of that
/// name.
#[test]
fn the_tests_that_are_named_exist() {
    let mut code = Vec::new();
    sources(&root().join("src"), &mut code);
    sources(&root().join("tests"), &mut code);
    let word = |w: &str| {
        !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut named = 0;
    for page in ["docs/safety.md", "docs/errors.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for name in text.split('`').skip(1).step_by(2) {
            let Some((module, test)) = name.split_once("::").filter(|(m, t)| word(m) && word(t)) else {
                continue;
            };
            named += 1;
            let there = code.iter().any(|(path, text)| {
                let place = path.with_extension("");
                place.iter().any(|part| part == module) && text.contains(&format!("fn {test}("))
            });
            assert!(there, "{page}: `{name}`");
        }
    }
    assert!(named > 40, "{named}");
}

/// The reference of the site file is written from its schema. `UPDATE=1` writes it.
#[test]
fn the_reference_of_the_site_file_is_in_step() {
    let schema = isotherm::site::schema();
    let mut text = String::from(
        "# The site file\n\nWritten from the program's own schema (`isotherm schema site`); a test keeps it so. Durations are \
         texts such as `\"15s\"`, `\"5min\"`, `\"1h 30min\"`. Relative paths start at the site file's own folder.\n",
    );
    section(&mut text, "Top level", &schema, &schema);
    for (name, of) in schema["$defs"].as_object().unwrap() {
        section(&mut text, name, of, &schema);
    }
    in_step("site.md", &text);
}

/// A page of the reference is what the code says. `UPDATE=1` writes it.
fn in_step(page: &str, text: &str) {
    let path = root().join("docs/reference").join(page);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/reference/{page} is out of step: run the tests with UPDATE=1 and commit it"
    );
}

/// The fields of the audit log are written from the schema of its records. `UPDATE=1` writes them.
#[test]
fn the_reference_of_the_records_is_in_step() {
    let schema = isotherm::control::record::schema();
    let mut text = String::from(
        "# Records of the audit log\n\nWritten from the schema of the records, `schemas/record.json`; a test keeps it so. \
         [The audit log](../audit.md) says how records are chained and signed. Each record has a kind, and its body is:\n\n\
         | kind | body |\n|---|---|\n",
    );
    for of in schema["oneOf"].as_array().unwrap() {
        let body = &of["properties"]["body"];
        let said = resolve(body["$ref"].as_str().unwrap(), &schema)["description"].as_str();
        let kind_of = of["properties"]["kind"]["const"].as_str().unwrap();
        writeln!(text, "| `{kind_of}` | {}: {} |", kind(body), said.unwrap_or_default().replace('\n', " "))
            .unwrap();
    }
    for (name, of) in schema["$defs"].as_object().unwrap() {
        section(&mut text, name, of, &schema);
    }
    in_step("record.md", &text);
}

/// Every record that an agent writes is one of the published schema, as a checker that nobody here wrote sees it.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_run_fit_the_published_schema() {
    let test = "records and their schema";
    let checker = "import json, sys, jsonschema_rs
schema, lines = json.load(open(sys.argv[1])), [json.loads(l) for l in open(sys.argv[2])]
valid = jsonschema_rs.validator_for(schema)
for line in lines:
    valid.validate(line)
print(*sorted({line['kind'] for line in lines}))";
    let Some(python) = crate::peers::python_with(test, "jsonschema_rs") else { return };
    let Some(mut rig) = crate::agent::Rig::start(test, |t| t).await else { return };
    rig.model.now_says(crate::agent::honest(7.5, "Raise"));
    rig.frames(8).await;
    let by = ["--socket", "agent.sock", "--who", "ann", "--why", "a test"];
    let act = |act: &[&'static str]| [act, &by].concat();
    let (code, said, why) = rig.cli(&act(&["upgrade", "propose", "--model", "other"])).await;
    assert_eq!(code, 0, "{said}{why}");
    while rig.bodies("candidate").is_empty() {
        rig.frames(1).await;
    }
    let (code, said, why) = rig.cli(&act(&["operator", "mode", "shadow"])).await;
    assert_eq!(code, 0, "{said}{why}");
    rig.frames(1).await;
    let lines: Vec<String> = rig.records().iter().map(|r| serde_json::to_string(r).unwrap() + "\n").collect();
    let exported = rig.dir.path().join("records.jsonl");
    std::fs::write(&exported, lines.concat()).unwrap();
    let schema = root().join("schemas/record.json");
    let checked = std::process::Command::new(python)
        .arg("-c")
        .arg(checker)
        .args([&schema, &exported])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(said.trim(), "candidate decision event frame operator outcome start");
}

fn section(out: &mut String, name: &str, of: &Value, schema: &Value) {
    let said =
        |v: &Value| v["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
    let Some(fields) = of["properties"].as_object() else {
        let words: Vec<String> = variants(of)
            .into_iter()
            .map(|(w, d)| if d.is_empty() { w } else { format!("{w}: {d}") })
            .collect();
        if !words.is_empty() {
            write!(out, "\n## {name}\n\n{}\n\n", said(of)).unwrap();
            for word in words {
                writeln!(out, "- {word}").unwrap();
            }
        }
        return;
    };
    write!(out, "\n## {name}\n\n{}\n\n| field | type | default | |\n|---|---|---|---|\n", said(of)).unwrap();
    let required: Vec<&str> =
        of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, of) in fields {
        let default = match of.get("default") {
            Some(Value::Null) | None if required.contains(&field.as_str()) => "required".to_owned(),
            Some(Value::Null) | None => String::new(),
            Some(Value::Object(_)) => "as below".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let described = if said(of).is_empty() {
            of["$ref"].as_str().map_or_else(String::new, |r| said(resolve(r, schema)))
        } else {
            said(of)
        };
        writeln!(out, "| `{field}` | {} | {default} | {described} |", kind(of)).unwrap();
    }
    let forms = of["oneOf"].as_array().into_iter().flatten().filter(|f| f["properties"].is_object());
    for (i, form) in forms.enumerate() {
        if i == 0 {
            out.push_str("\nand, of these, one:\n\n");
        }
        writeln!(out, "- {}", a_form(form)).unwrap();
    }
}

/// The fields of one of several forms, in a line.
fn a_form(form: &Value) -> String {
    let properties = form["properties"].as_object().into_iter().flatten();
    let fields: Vec<String> = properties
        .map(|(name, of)| match of["const"].as_str() {
            Some(word) => format!("`{name}`: `{word}`"),
            None => format!("`{name}`: {}", kind(of)),
        })
        .collect();
    let said =
        form["description"].as_str().map_or_else(String::new, |d| format!(". {}", d.replace('\n', " ")));
    format!("{}{said}", fields.join(", "))
}

fn resolve<'a>(reference: &str, schema: &'a Value) -> &'a Value {
    schema.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null)
}

/// The words that a value may be, and what each means.
fn variants(of: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v["description"].as_str().unwrap_or_default().replace('\n', " ");
    let plain = of["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|w| (format!("`{w}`"), String::new()));
    let described = of["oneOf"].as_array().into_iter().flatten().flat_map(|one| {
        let all = one["enum"].as_array().cloned().unwrap_or_default();
        let words = one["const"]
            .as_str()
            .map(str::to_owned)
            .into_iter()
            .chain(all.into_iter().filter_map(|w| w.as_str().map(str::to_owned)));
        let said = text(one);
        words.map(move |w| (format!("`{w}`"), said.clone())).collect::<Vec<_>>()
    });
    plain.chain(described).collect()
}

fn kind(of: &Value) -> String {
    if let Some(reference) = of["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(any) = of["anyOf"].as_array() {
        let kinds: Vec<String> = any.iter().filter(|k| k["type"] != "null").map(kind).collect();
        return kinds.join(" or ");
    }
    let types = &of["type"];
    if types == "array" {
        return format!("list of {}", kind(&of["items"]));
    }
    let all: Vec<&str> =
        types.as_array().into_iter().flatten().chain([types]).filter_map(Value::as_str).collect();
    let all: Vec<&str> = all.into_iter().filter(|t| *t != "null").collect();
    if all.is_empty() { "any".to_owned() } else { all.join(" or ") }
}
