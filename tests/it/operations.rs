//! What runs the agent as a service: reload, readiness, the service manager, metrics, traces, packages.

#[cfg(feature = "parquet")]
mod archive;

use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use axum::body::Bytes;
use opentelemetry_proto_free::spans;
use serde_json::Value;

use crate::agent::{Rig, honest};
use crate::peers::{PATIENCE, lacks, on_path, skip};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// New limits are in force without control being given up for a moment; a bad file, or one that changes more
/// than limits, changes nothing. All of it is in the log, and the log replays.
#[tokio::test]
async fn limits_are_reloaded_while_the_plant_is_held() {
    let Some(mut rig) = Rig::start("reload", |t| t).await else { return };
    rig.model.now_says(honest(8.0, "Raise"));
    rig.frames(16).await;
    assert_eq!(rig.register(2).await, 80, "{}", rig.log());
    assert_eq!(rig.register(0).await, 1);

    rig.model.now_says(honest(7.5, "Hold"));
    rig.edit("max = 16", "max = 7.5");
    rig.hang_up();
    rig.until("the reload is recorded", |r| r.events().iter().any(|e| e == "reload")).await;
    rig.frames(8).await;
    assert_eq!(rig.register(2).await, 75, "what the new limits forbid is moved: {}", rig.log());
    let reload = rig.bodies("event").into_iter().find(|e| e["event"] == "reload").unwrap();
    assert_eq!(reload["detail"], "setpoint chws_sp max: 16.0 -> 7.5");
    assert_eq!(reload["site_config"]["setpoint"][0]["max"], 7.5);

    for (from, to, why) in [
        ("max = 7.5", "max = \"warm\"", "invalid type"),
        ("max = \"warm\"", "max = 5", "expected min below max"),
        ("max = 5\n", "max = 7.5\n", "the limits are as they were"),
        ("cadence = \"1min\"", "cadence = \"2min\"", "needs a restart: cadence"),
    ] {
        rig.edit(from, to);
        let before = rig.events().iter().filter(|e| *e == "reload_refused").count();
        rig.hang_up();
        rig.until("the refusal is recorded", |r| {
            r.events().iter().filter(|e| *e == "reload_refused").count() > before
        })
        .await;
        let last = rig.bodies("event").into_iter().rfind(|e| e["event"] == "reload_refused").unwrap();
        assert!(last["detail"].as_str().unwrap().contains(why), "{why}: {last}");
    }
    rig.frames(8).await;
    assert_eq!(rig.register(2).await, 75);
    let events = rig.events();
    assert!(!events.iter().any(|e| e == "release"), "control was given up: {events:?}");
    assert_eq!(events.iter().filter(|e| *e == "take_control").count(), 1);
    rig.stop().await;
    let (code, out, err) = rig.cli(&["replay", "audit.db", "--verify", "--json"]).await;
    assert_eq!(code, 0, "{out}{err}");
}

/// READY once the run has begun, a beat of the watchdog again and again, STOPPING at the end.
#[tokio::test]
async fn the_service_manager_is_told() {
    let Some(mut rig) = Rig::start_without_agent("notify", |t| t).await else { return };
    let path = rig.dir.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let (tx, said) = std::sync::mpsc::channel();
    // A manager always reads; whoever writes to one that does not would wait.
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok(n) = socket.recv(&mut bytes) {
            if tx.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_err() {
                return;
            }
        }
    });
    let next = || said.recv_timeout(PATIENCE).unwrap();
    rig.environment = vec![
        ("NOTIFY_SOCKET".to_owned(), path.display().to_string()),
        ("WATCHDOG_USEC".to_owned(), "600000".to_owned()),
    ];
    rig.restart().await;
    assert!(next().contains("READY=1"));
    assert!((0..3).all(|_| next().contains("WATCHDOG=1")));
    rig.stop().await;
    let rest: Vec<String> = std::iter::repeat_with(next).take_while(|t| !t.contains("STOPPING=1")).collect();
    assert!(rest.iter().all(|t| t.contains("WATCHDOG=1")), "{rest:?}");
}

/// Every metric that the dashboard asks for is one that a running agent has.
#[tokio::test]
async fn the_dashboard_asks_for_metrics_that_exist() {
    let text = std::fs::read_to_string(root().join("packaging/grafana/isotherm.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut asked = std::collections::BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let names = expr.split(|c: char| !c.is_alphanumeric() && c != '_');
            asked.extend(names.filter(|n| n.starts_with("isotherm_")).map(str::to_owned));
        }
    }
    assert!(asked.len() > 12, "{asked:?}");
    let Some(mut rig) = Rig::start("dashboard", |t| t).await else { return };
    rig.frames(6).await;
    let metrics = rig.http("/metrics").await;
    for name in asked {
        let there = metrics.lines().any(|l| l.starts_with(&format!("{name}{{")));
        assert!(there, "{name} is not among\n{metrics}");
    }
    let mut reference = String::from(
        "# Metrics\n\nWhat `GET /metrics` has, from a running agent; a test keeps it so. Every one has the label `site`.\n\n| name | kind | |\n|---|---|---|\n",
    );
    for help in metrics.lines().filter_map(|l| l.strip_prefix("# HELP ")) {
        let (name, said) = help.split_once(' ').unwrap();
        let kind = metrics.lines().find_map(|l| l.strip_prefix(&format!("# TYPE {name} "))).unwrap();
        writeln!(reference, "| `{name}` | {kind} | {said} |").unwrap();
    }
    let page = root().join("docs/reference/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, &reference).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == reference,
        "docs/reference/metrics.md is out of step: run with UPDATE=1 and commit it"
    );
    assert_eq!(rig.http("/readyz").await.trim(), "ready");
    assert_eq!(rig.http("/healthz").await.trim(), "ok");
    rig.stop().await;
}

/// Machines that watch have a door of their own, with the console or without; nothing else is behind it.
#[tokio::test]
async fn metrics_need_no_console() {
    let alone = |t: String| {
        let off = t.replace("listen = \"127.0.0.1:0\"", "listen = \"off\"");
        format!("{off}\n[telemetry]\nlisten = \"127.0.0.1:0\"\n")
    };
    let Some(mut rig) = Rig::start("metrics alone", alone).await else { return };
    rig.frames(6).await;
    assert!(!rig.log().contains("console on"), "{}", rig.log());
    let metrics = rig.http("/metrics").await;
    let has = |line: &str| metrics.lines().any(|l| l.starts_with(line));
    for line in
        ["isotherm_in_charge{site=\"test\"} 1", "isotherm_value{site=\"test\",kind=\"signal\",name=\"inlet\""]
    {
        assert!(has(line), "{line}: {metrics}");
    }
    let newest = rig.records().last().unwrap().seq;
    assert!(has(&format!("isotherm_audit_records{{site=\"test\"}} {newest}")), "{newest}: {metrics}");
    assert_eq!(rig.http("/readyz").await.trim(), "ready");
    assert_eq!(rig.http("/healthz").await.trim(), "ok");
    for page in ["/", "/api/state", "/api/session"] {
        assert!(rig.http(page).await.contains("here are /metrics"), "{page}");
    }
    rig.stop().await;
}

/// A collector hears of each decision: its own span, the model's, and that of the write.
#[tokio::test]
async fn decisions_are_traced() {
    let (tx, mut requests) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let collect = axum::routing::post(move |body: Bytes| {
        tx.send(body).ok();
        async { "" }
    });
    let router = axum::Router::new().route("/v1/traces", collect);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let with_collector = |t: String| format!("{t}\n[telemetry]\notlp = \"{url}\"\n");
    let Some(mut rig) = Rig::start("traces", with_collector).await else { return };
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(12).await;
    rig.stop().await;
    let mut seen = Vec::new();
    while let Ok(request) = requests.try_recv() {
        seen.extend(spans(&request));
    }
    let named = |name: &str| seen.iter().filter(|s| s.name == name).collect::<Vec<_>>();
    let decisions = named("decision");
    assert!(!decisions.is_empty(), "{seen:?}");
    for child in ["reason", "write"] {
        let of_a_decision =
            named(child).iter().any(|s| decisions.iter().any(|d| d.id == s.parent && d.trace == s.trace));
        assert!(of_a_decision, "{child}: {seen:#?}");
    }
    assert!(
        decisions.iter().any(|d| d.attributes.contains(&"isotherm.disposition".to_owned())),
        "{decisions:?}"
    );
}

/// The unit is one that systemd understands, and exposes little.
#[test]
fn the_unit_is_sound() {
    let test = "unit";
    let unit = root().join("packaging/systemd/isotherm.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    for line in [
        "Type=notify",
        "OOMPolicy=continue",
        "Delegate=memory",
        "WatchdogSec=60",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
    if on_path("systemd-analyze").is_none() {
        return lacks(test, "needs systemd-analyze");
    }
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(&unit).output().unwrap();
        let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
        (output.status.success(), text)
    };
    let (_, said) = analyze(&["verify"]);
    let complaints: Vec<&str> =
        said.lines().filter(|l| !l.contains("/usr/bin/isotherm is not executable")).collect();
    assert_eq!(complaints, Vec::<&str>::new());
    let (low, said) = analyze(&["security", "--offline=true", "--threshold=20"]);
    assert!(low, "more exposed than 2.0: {said}");
}

/// The package holds what it should, owned by root, with its checksums.
#[test]
fn the_debian_package_is_complete() {
    if on_path("dpkg-deb").is_none() {
        return skip("deb", "needs dpkg-deb");
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let build = Command::new(root().join("packaging/deb"))
        .args(["--binary", env!("CARGO_BIN_EXE_isotherm"), "--out", out])
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let package = String::from_utf8(build.stdout).unwrap().trim().to_owned();
    let deb = |args: &[&str]| {
        let output = Command::new("dpkg-deb").args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let control = deb(&["-f", &package]);
    assert!(control.contains(&format!("Version: {}", env!("CARGO_PKG_VERSION"))), "{control}");
    assert!(control.contains("libc6"), "{control}");
    let list = deb(&["-c", &package]);
    for (mode, file) in [
        ("-rwxr-xr-x root/root", "./usr/bin/isotherm"),
        ("-rw-r--r-- root/root", "./lib/systemd/system/isotherm.service"),
        ("-rw-r--r-- root/root", "./usr/share/isotherm/models/isotherm.gguf"),
        ("-rw-r--r-- root/root", "./usr/share/isotherm/sites/air.toml"),
        ("-rw-r--r-- root/root", "./usr/share/isotherm/grafana/isotherm.json"),
        ("-rw-r--r-- root/root", "./usr/share/doc/isotherm/copyright"),
        ("-rw-r--r-- root/root", "./usr/share/doc/isotherm/docs/envelope.md"),
        ("drwxr-xr-x root/root", "./etc/isotherm/"),
    ] {
        let there = list.lines().any(|l| l.starts_with(mode) && l.ends_with(&format!(" {file}")));
        assert!(there, "{mode} {file} is not in\n{list}");
    }
    let unpacked = dir.path().join("root");
    deb(&["-R", &package, unpacked.to_str().unwrap()]);
    let sums = Command::new("md5sum")
        .args(["-c", "--quiet", "DEBIAN/md5sums"])
        .current_dir(&unpacked)
        .status()
        .unwrap();
    assert!(sums.success());
    let version = Command::new(unpacked.join("usr/bin/isotherm")).arg("--version").output().unwrap();
    assert!(version.status.success());
    for script in ["postinst", "prerm"] {
        let parsed = Command::new("sh").arg("-n").arg(unpacked.join("DEBIAN").join(script)).status().unwrap();
        assert!(parsed.success(), "{script}");
    }
}

/// What the container file copies is there.
#[test]
fn the_container_file_names_files_that_exist() {
    let text = std::fs::read_to_string(root().join("packaging/Containerfile")).unwrap();
    let copies = text.lines().filter(|l| l.starts_with("COPY ") && !l.contains("--from"));
    let mut sources = Vec::new();
    for copy in copies {
        let words: Vec<&str> = copy.split_whitespace().collect();
        // The last one is where it goes.
        sources.extend_from_slice(&words[1..words.len() - 1]);
    }
    assert!(sources.len() >= 4, "{sources:?}");
    for source in sources {
        assert!(root().join(source).exists(), "{source}");
    }
}

/// Enough of OTLP's protobuf (opentelemetry/proto/trace/v1/trace.proto) to read spans without the library that
/// wrote them.
mod opentelemetry_proto_free {
    #[derive(Debug)]
    pub(super) struct Span {
        pub(super) trace: Vec<u8>,
        pub(super) id: Vec<u8>,
        pub(super) parent: Vec<u8>,
        pub(super) name: String,
        pub(super) attributes: Vec<String>,
    }

    /// Field number and content of each length-delimited field.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let (first, rest) = bytes.split_first().unwrap();
                *bytes = rest;
                value |= u64::from(first & 0x7f) << shift;
                if first & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            match key & 7 {
                0 => drop(varint(&mut bytes)),
                1 => bytes = &bytes[8..],
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    let (content, rest) = bytes.split_at(length);
                    found.push((key >> 3, content));
                    bytes = rest;
                }
                5 => bytes = &bytes[4..],
                other => panic!("wire type {other}"),
            }
        }
        found
    }

    fn all(messages: Vec<&[u8]>, number: u64) -> Vec<&[u8]> {
        messages
            .into_iter()
            .flat_map(fields)
            .filter(|(n, _)| *n == number)
            .map(|(_, content)| content)
            .collect()
    }

    /// The spans of an `ExportTraceServiceRequest`.
    pub(super) fn spans(request: &[u8]) -> Vec<Span> {
        let spans = all(all(all(vec![request], 1), 2), 2);
        let read = |span: &[u8]| {
            let one = |number| all(vec![span], number).first().map_or_else(Vec::new, |b| b.to_vec());
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let keys = all(all(vec![span], 9), 1).into_iter().map(|k| text(k.to_vec())).collect();
            Span { trace: one(1), id: one(2), parent: one(4), name: text(one(5)), attributes: keys }
        };
        spans.into_iter().map(read).collect()
    }
}
