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
    let cases: [(&str, &str, &[&str]); 13] = [
        ("unit = \"kW\"", "unit = \"kilowatts\"", &["kilowatts", "expected one of", "kW"]),
        ("safe = 7", "safe = 70", &["chws_sp", "safe", "from 6 to 16"]),
        ("address = 3,", "address = 2,", &["crah_supply_sp", "overlaps", "chws_sp"]),
        ("range = [1, 35]", "range = [35, 1]", &["signal \"chws\": range", "[lowest, highest]"]),
        ("range = [1, 35]", "range = [1, 35, 60]", &["range", "length 3", "two numbers, [lowest, highest]"]),
        ("inlet_recommended = [18, 27]", "inlet_recommended = [18]", &["inlet_recommended", "length 1"]),
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

/// `sites/air.toml` with its device described by a profile in another file.
fn by_profile(folder: &Path, profile: &str) -> String {
    std::fs::write(folder.join("plant.toml"), profile).unwrap();
    let points = [
        ("{ device = \"plant\", address = 0, type = \"uint16\" }", "enable"),
        ("{ device = \"plant\", address = 1, type = \"uint16\" }", "heartbeat"),
        ("{ device = \"plant\", address = 2, type = \"int16\", scale = 0.1 }", "chws_sp"),
        ("{ device = \"plant\", address = 3, type = \"int16\", scale = 0.1 }", "crah_supply_sp"),
        ("{ device = \"plant\", address = 4, type = \"int16\" }", "chw_dp_sp"),
    ];
    let mut text = AIR.replace("name = \"plant\"\n", "name = \"plant\"\nprofile = \"plant.toml\"\n");
    for (register, point) in points {
        assert!(text.contains(register), "{register}");
        text = text.replace(register, &format!("{{ device = \"plant\", point = \"{point}\" }}"));
    }
    text
}

const PROFILE: &str = include_str!("../../profiles/simulated-air.toml");

#[test]
fn a_profile_gives_what_the_site_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let profile = PROFILE
        .replace("max_block = 100", "max_block = 16\ninter_frame_delay = \"20ms\"")
        .replace("unit = \"kPa\"", "unit = \"kPa\"\nwrites_per_day = 14");
    let file = dir.path().join("site.toml");
    std::fs::write(&file, by_profile(dir.path(), &profile)).unwrap();
    let site = site::load(&file).unwrap();
    let plain = site::parse(AIR, Path::new("site.toml")).unwrap();
    assert_eq!((site.devices[0].max_block, site.devices[0].port), (16, 1502));
    assert_eq!(site.devices[0].inter_frame_delay, jiff::SignedDuration::from_millis(20));
    assert_eq!(site.setpoints[2].writes_per_day, Some(14));
    let pairs = site.setpoints.iter().zip(&plain.setpoints).map(|(a, b)| (&a.register, &b.register));
    let links = [(&site.link.enable, &plain.link.enable), (&site.link.heartbeat, &plain.link.heartbeat)];
    let links = links.iter().map(|(a, b)| (a.as_ref().unwrap(), b.as_ref().unwrap()));
    for (a, b) in pairs.chain(links) {
        assert_eq!((a.address, a.word_type, a.scale), (b.address, b.word_type, b.scale));
        assert!(a.point.is_some() && b.point.is_none());
    }
    // What is recorded of a run is the whole site: it needs the profile no more.
    let recorded = serde_json::to_value(&site).unwrap();
    assert_eq!(serde_json::from_value::<site::Site>(recorded).unwrap(), site);
}

/// The site's word goes before the profile's, and the maker's limits before the site's.
#[test]
fn a_site_may_say_otherwise_but_not_go_beyond_what_the_device_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    let said = by_profile(dir.path(), PROFILE)
        .replace("point = \"chw_dp_sp\"", "point = \"chw_dp_sp\", address = 9");
    assert_eq!(site::parse(&said, &path).unwrap().setpoints[2].register.address, 9);
    let in_f = PROFILE.replace("unit = \"degC\"\ntakes = [5, 18]", "unit = \"degF\"\ntakes = [45, 70]");
    let message = site::parse(&by_profile(dir.path(), &in_f), &path).unwrap_err().to_string();
    assert!(message.contains("the device takes 45 to 70 degF there, and 6 degC is 42.8 degF"), "{message}");
    assert!(message.contains("setpoint \"chws_sp\": min"), "{message}");
}

#[test]
fn what_a_profile_cannot_give_is_said_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    let complaint = |profile: &str, edit: &dyn Fn(String) -> String| {
        let text = edit(by_profile(dir.path(), profile));
        site::parse(&text, &path).unwrap_err().to_string()
    };
    let line = |needle: &str| {
        let text = by_profile(dir.path(), PROFILE);
        text.lines().position(|l| l.contains(needle)).unwrap() + 1
    };
    let cases = [
        (
            complaint(PROFILE, &|t| t.replace("plant.toml", "other.toml")),
            "device \"plant\": profile: cannot read",
            line("profile ="),
        ),
        (
            complaint(PROFILE, &|t| t.replace("point = \"chws_sp\"", "point = \"chws\"")),
            "setpoint \"chws_sp\": register.point: plant.toml has no point \"chws\" (there are: chw_dp_sp, chws_sp,",
            line("point = \"chws_sp\""),
        ),
        (
            complaint(PROFILE, &|t| t.replace("profile = \"plant.toml\"\n", "\n")),
            "link.enable.point: device \"plant\" names no profile",
            line("point = \"enable\""),
        ),
        (
            complaint(&PROFILE.replace("max_block", "max_blok"), &|t| t),
            "unknown field `max_blok`",
            line("profile ="),
        ),
        (
            complaint(&PROFILE.replace("scale = 0.1", "scale = \"tenth\""), &|t| t),
            "scale = \"tenth\"",
            line("profile ="),
        ),
        (
            complaint(&PROFILE.replace("address = 0\n", ""), &|t| t),
            "missing field `address`",
            line("profile ="),
        ),
        (
            complaint(&PROFILE.replace("max_block = 100", "host = \"x\""), &|t| t),
            "host is the site's to say",
            line("profile ="),
        ),
    ];
    for (message, expected, line) in cases {
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(message.contains(&format!("site.toml:{line}: ")), "{line}: {message}");
    }
}

#[test]
fn shipped_profiles_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("profiles")).unwrap() {
        let profile = entry.unwrap().path();
        let device = format!(
            "\n[[device]]\nname = \"other\"\nhost = \"h\"\nprofile = {:?}\n",
            profile.display().to_string()
        );
        let text = AIR.to_owned() + &device;
        site::parse(&text, &root.join("sites/air.toml")).unwrap_or_else(|e| panic!("{e}"));
        seen += 1;
    }
    assert!(seen > 1);
}

#[test]
fn a_mistake_in_a_source_is_named() {
    let in_source = |source: &str| {
        complaints(|air| {
            air.replacen("source = { topic = \"sim/air/frame\" }", &format!("source = {source}"), 1)
        })
    };
    let cases = [
        ("{ topic = \"t\", pointr = \"/a\" }", "unknown field `pointr`, expected one of `topic`, `pointer`"),
        ("{ device = \"plant\", addr = 3 }", "unknown field `addr`"),
        ("{ device = \"plant\", address = 3, type = \"int61\" }", "unknown variant `int61`"),
        ("\"sim/air/frame\"", "invalid type: string \"sim/air/frame\""),
        ("{ metric = \"t\" }", "expected a `topic`, a `sparkplug` node or a `device`"),
    ];
    for (source, expected) in cases {
        let message = in_source(source);
        assert!(message.contains(expected) && message.contains("line 34"), "{source}: {message}");
    }
}

#[test]
fn a_setpoint_that_would_cool_the_wrong_way_is_refused() {
    let message = complaints(|air| air.replacen("cools = \"down\"", "cools = \"up\"", 1));
    assert!(
        message.contains("setpoint \"chws_sp\": cools: with this role more cooling is downwards"),
        "{message}"
    );
}
