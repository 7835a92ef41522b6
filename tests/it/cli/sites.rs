//! What `check` and `doctor` say of a site that is not whole, or whose peers are not there.

use std::net::TcpListener;

use serde_json::Value;

use super::{code, isotherm, shipped, stderr, stdout};

/// Each row says what is behind it, and where; what would be missed later is said too. Nobody reads colours in a
/// file.
#[test]
fn a_row_without_a_value_says_which_peer_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    // Ports that were free a moment ago.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (broker, plant) = (free(), free());
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    let text = text.replace("port = 1883", &format!("port = {broker}")).replace("heartbeat = ", "# ");
    std::fs::write(&site, text.replace("port = 1502", &format!("port = {plant}"))).unwrap();
    let output = isotherm(&["check", "--site", site.to_str().unwrap()]);
    let (text, log) = (stdout(&output), stderr(&output));
    assert!(text.contains(&format!("^ broker 127.0.0.1:{broker}: ")), "{text}");
    assert!(text.contains(&format!("^ device \"plant\" at 127.0.0.1:{plant}: cannot connect")), "{text}");
    assert!(text.contains(&format!("\nunreachable: device \"plant\" at 127.0.0.1:{plant}: ")), "{text}");
    assert!(!text.contains("check topic or register"), "{text}");
    assert!(text.contains("\nwarning: no [link] heartbeat: after a crash"), "{text}");
    assert!(log.contains("the broker is not connected") && !log.contains('\u{1b}'), "{log}");
}

/// What the site file says of the broker and cannot be is no matter of reaching it.
#[test]
fn a_missing_password_or_certificate_is_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    for (more, field, what) in [
        ("username = \"a\"\npassword_env = \"ISOTHERM_NO_SUCH\"", "mqtt.password_env", "ISOTHERM_NO_SUCH"),
        ("username = \"a\"\npassword_file = \"nope\"", "mqtt.password_file", "nope"),
        ("tls = { ca_file = \"nope.pem\" }", "mqtt.tls.ca_file", "nope.pem"),
    ] {
        std::fs::write(&site, text.replace("port = 1883", &format!("port = 1883\n{more}"))).unwrap();
        for extra in [&[][..], &["--accept", "--who", "me", "--consent", "chws_sp"][..]] {
            let args = [&["check", "--site", site.to_str().unwrap()][..], extra].concat();
            let output = isotherm(&args);
            let said = stderr(&output);
            assert_eq!(code(&output), 2, "{said}");
            assert!(said.contains(field) && said.contains(what), "{said}");
        }
    }
}

/// A step test takes hours: that nobody answers is said at once.
#[test]
fn a_step_test_without_a_peer_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    // Nobody listens there.
    std::fs::write(&site, text.replace("port = 1883", "port = 1").replace("port = 1502", "port = 1"))
        .unwrap();
    let record = dir.path().join("steps.jsonl");
    let args = ["check", "--site", site.to_str().unwrap(), "--steps", "--who", "me", "--consent", "chws_sp"];
    let output = isotherm(&[&args[..], &["--record", record.to_str().unwrap()]].concat());
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("127.0.0.1:1"), "{}", stderr(&output));
    assert!(!record.exists());
}

/// A plant that is written to has to notice when nobody writes any more.
#[test]
fn doctor_says_when_nothing_would_give_the_plant_back() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    let finding = |mode: &str, link: bool| {
        let unlinked = |l: &&str| link || !(l.starts_with("enable = ") || l.starts_with("heartbeat = "));
        let text = text.lines().filter(unlinked).collect::<Vec<_>>().join("\n");
        std::fs::write(&site, text.replace("mode = \"auto\"", &format!("mode = \"{mode}\""))).unwrap();
        let output = isotherm(&["doctor", "--site", site.to_str().unwrap(), "--json"]);
        let findings: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
        findings.into_iter().find(|f| f["topic"] == "hand-back")
    };
    let found = finding("auto", false).unwrap();
    assert_eq!(
        (&found["level"], &found["found"]),
        (&"warn".into(), &"no [link] enable and heartbeat".into())
    );
    assert_eq!(finding("auto", true), None);
    assert_eq!(finding("shadow", false), None);
}
