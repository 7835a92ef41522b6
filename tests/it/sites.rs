//! The site files that ship are valid, and broken ones are explained.

use std::path::Path;

use isotherm::site;

const AIR: &str = include_str!("../../sites/air.toml");

fn complaints(edit: impl Fn(&str) -> String) -> String {
    site::parse(&edit(AIR), Path::new("site.toml")).unwrap_err().to_string()
}

#[test]
fn shipped_sites_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sites");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mapping = path.to_string_lossy().ends_with(".mapping.toml");
        if path.extension().is_some_and(|e| e == "toml") && !mapping {
            site::load(&path).unwrap_or_else(|e| panic!("{e}"));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// Whatever folder a command is started in, a site file means the same files.
#[test]
fn relative_paths_start_at_the_site_files_folder() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.toml");
    let more = "[audit]\npath = \"log/audit.db\"\ncheckpoint_file = \"/mnt/other/checkpoints.jsonl\"\n";
    std::fs::write(&file, AIR.to_owned() + more).unwrap();
    let site = site::load(&file).unwrap();
    assert_eq!(site.audit.path, dir.path().join("log/audit.db"));
    assert_eq!(site.audit.key, dir.path().join("isotherm-audit.key"));
    assert_eq!(site.console.control_socket, dir.path().join("isotherm.sock"));
    assert_eq!(site.audit.checkpoint_file.as_deref(), Some(Path::new("/mnt/other/checkpoints.jsonl")));
    assert!(site.model.path.unwrap().starts_with(dir.path()));
}

/// Each mistake a person makes gets a message with the line, the field and what was expected.
#[test]
fn mistakes_are_named() {
    let cases: [(&str, &str, &[&str]); 11] = [
        ("unit = \"kW\"", "unit = \"kilowatts\"", &["kilowatts", "expected one of", "kW"]),
        ("safe = 7", "safe = 70", &["chws_sp", "safe", "from 6 to 16"]),
        ("address = 3,", "address = 2,", &["crah_supply_sp", "overlaps", "chws_sp"]),
        ("range = [1, 35]", "range = [35, 1]", &["signal \"chws\": range", "[lowest, highest]"]),
        ("role = \"chwr\"", "role = \"chiller\"", &["unknown variant", "chiller"]),
        ("cadence = \"5min\"", "cadence = \"5s\"", &["cadence", "at least one sample period"]),
        ("cadence = \"5min\"", "cadense = \"5min\"", &["cadense", "unknown field"]),
        ("step = 0.5", "step = 0", &["step", "more than 0"]),
        ("safe = 7\n", "safe = 7\nwhite_space = true\n", &["chws_sp", "white space", "room_dew_point"]),
        ("safe = 7\n", "safe = 7\nread_back_tolerance = 11\n", &["read_back_tolerance", "0 to 10"]),
        ("device = \"plant\", address = 4", "device = \"plent\", address = 4", &["plent", "no [[device]]"]),
    ];
    for (good, bad, expected) in cases {
        let message = complaints(|text| text.replacen(good, bad, 1));
        for part in expected {
            assert!(message.contains(part), "{bad:?}: expected {part:?} in: {message}");
        }
        assert!(message.starts_with("site.toml"), "names the file: {message}");
    }
}

#[test]
fn all_problems_come_at_once_with_their_lines() {
    let message = complaints(|t| t.replace("safe = 7\n", "safe = 70\n").replace("safe = 200", "safe = 0"));
    assert_eq!(message.lines().count(), 2, "{message}");
    let line = AIR.lines().position(|l| l == "safe = 7").unwrap() + 1;
    assert!(message.contains(&format!("site.toml:{line}:")), "{message}");
}

#[test]
fn a_learned_policy_is_loaded_with_its_site_and_one_of_another_site_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.toml");
    let text = format!("controller = \"rl\"\n{AIR}");
    std::fs::write(&file, &text).unwrap();
    let site = site::load(&file).unwrap();
    assert!(site.rl.network.is_some());
    // A replay makes the site from the record of the run.
    let recorded = serde_json::to_string(&site).unwrap();
    assert!(serde_json::from_str::<site::Site>(&recorded).unwrap() == site);
    std::fs::write(&file, text.replace("\"crah_fan\"", "\"fans\"")).unwrap();
    let message = site::load(&file).unwrap_err().to_string();
    for part in ["site.toml: rl.policy: ", "another site: signal \"crah_fan\"", "training/README.md"] {
        assert!(message.contains(part), "{message}");
    }
    std::fs::write(&file, format!("{text}\n[rl]\npolicy = \"mine.json\"\n")).unwrap();
    let message = site::load(&file).unwrap_err().to_string();
    assert!(message.contains(&dir.path().join("mine.json").display().to_string()), "{message}");
}
