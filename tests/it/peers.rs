//! Real peers to test against: a mosquitto broker and a pymodbus server, each a child process on a port of
//! its own that ends with its handle.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use isotherm::site::Site;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else { panic!("timed out: {what}") };
    value
}

/// Says that a test did not run for want of a part. With `ISOTHERM_TEST_REQUIRE` set, as `./check` has it after
/// setting all parts up, that is a failure.
pub(crate) fn skip(test: &str, missing: &str) {
    assert!(std::env::var_os("ISOTHERM_TEST_REQUIRE").is_none(), "{test}: {missing}");
    lacks(test, missing);
}

/// The same of what nobody can set up everywhere: recorded data of others, rights, memory, an init system. Said past the
/// test harness's capture.
pub(crate) fn lacks(test: &str, missing: &str) {
    let line = format!("\n*** SKIPPED {test}: {missing}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

pub(crate) fn site(text: &str) -> Site {
    isotherm::site::parse(text, Path::new("test.toml")).unwrap()
}

/// The Python that has what `tests/peers` needs.
fn python() -> PathBuf {
    std::env::var_os("ISOTHERM_TEST_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python"), PathBuf::from)
}

/// The same, where it has this module; else `None`, loudly.
pub(crate) fn python_with(test: &str, module: &str) -> Option<PathBuf> {
    let python = python();
    let tried = std::process::Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if tried.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    let what = format!(
        "needs Python with {module}: run scripts/setup test, or name its python in ISOTHERM_TEST_PYTHON"
    );
    skip(test, &what);
    None
}

pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// A mosquitto broker.
pub(crate) struct Broker {
    child: Option<Child>,
    program: PathBuf,
    dir: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Broker {
    /// `None`, loudly, when there is no mosquitto. `settings` follow the listener's line; in them `DIR`
    /// stands for the broker's folder, into which `files` are written first.
    pub(crate) async fn start(test: &str, settings: &str) -> Option<Self> {
        Self::start_in(test, settings, tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn start_in(test: &str, settings: &str, dir: tempfile::TempDir) -> Option<Self> {
        let Some(program) = on_path("mosquitto") else {
            skip(test, "needs mosquitto on the PATH (apt-get install mosquitto)");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings.replace("DIR", dir.path().to_str().unwrap());
        let config = format!("listener {port} 127.0.0.1\n{settings}\n");
        std::fs::write(dir.path().join("mosquitto.conf"), config).unwrap();
        // Run as root, mosquitto gives up its rights, and must still read its folder.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for entry in std::fs::read_dir(dir.path()).unwrap() {
                let file = entry.unwrap().path();
                std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
            }
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut broker = Self { child: None, program, dir, port };
        broker.restart().await;
        Some(broker)
    }

    pub(crate) async fn restart(&mut self) {
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.child = Some(child);
        soon("mosquitto listens", async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    pub(crate) async fn stop(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    /// A plain client, for the other side of the conversation.
    pub(crate) fn client(&self, id: &str) -> (rumqttc::AsyncClient, rumqttc::EventLoop) {
        let mut options = rumqttc::MqttOptions::new(id, "127.0.0.1", self.port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        rumqttc::AsyncClient::new(options, 1000)
    }

    /// A client that publishes; its connection is driven until the test ends.
    pub(crate) fn publisher(&self) -> rumqttc::AsyncClient {
        let (client, mut connection) = self.client("publisher");
        tokio::spawn(async move { while connection.poll().await.is_ok() {} });
        client
    }
}

/// The pymodbus server of `tests/peers/modbus_server.py`.
pub(crate) struct Plc {
    _child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    pub(crate) port: u16,
}

impl Plc {
    /// `None`, loudly, when there is no Python with pymodbus.
    pub(crate) async fn start(test: &str, framer: &str) -> Option<Self> {
        let mut child = Command::new(python_with(test, "pymodbus.simulator")?)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/modbus_server.py"))
            .args(["--framer", framer])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut plc = Self { _child: child, commands, answers, port: 0 };
        plc.port = u16::try_from(plc.answer().await["port"].as_u64().unwrap()).unwrap();
        Some(plc)
    }

    async fn answer(&mut self) -> Value {
        let line = soon("the Modbus server answers", self.answers.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) async fn tell(&mut self, command: Value) -> Value {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.answer().await
    }

    pub(crate) async fn set(&mut self, address: u16, words: &[u16]) {
        self.tell(json!({ "set": [address, words] })).await;
    }
}
