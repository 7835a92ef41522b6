//! The agent's processes: started, signalled, looked at, ended.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::Rig;
use crate::peers::soon;

impl Rig {
    /// Starts the agent again, on the same log.
    pub(crate) async fn restart(&mut self) {
        self.start_agent();
        self.listen_again().await;
    }

    /// Without waiting for it to listen.
    pub(crate) fn start_agent(&mut self) {
        self.agent = Some(spawn(&self.dir, &self.environment));
    }

    /// Runs `isotherm` with these arguments in the rig's folder.
    pub(crate) async fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let output =
            soon("the command ends", isotherm_command(&self.dir).args(args).stdin(Stdio::null()).output())
                .await
                .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(&mut self) {
        let status = self.end(Signal::TERM).await;
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Sends a signal that ends the agent, and waits for the end.
    pub(crate) async fn end(&mut self, signal: Signal) -> std::process::ExitStatus {
        let mut agent = self.agent.take().unwrap();
        let pid = i32::try_from(agent.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        soon("the agent ends", agent.wait()).await.unwrap()
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        let pid = i32::try_from(self.agent.as_ref().unwrap().id().unwrap()).unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// The process that the log last named as ready to answer, dead or alive.
    fn last_ready(&self) -> Option<Pid> {
        let log = self.log();
        let ready = log.lines().rfind(|l| l.contains("reasoner ready"))?;
        let digits = ready.split("pid").nth(1)?.chars().skip_while(|c| !c.is_ascii_digit());
        let pid: String = digits.take_while(char::is_ascii_digit).collect();
        Pid::from_raw(pid.parse().ok()?)
    }

    pub(crate) fn is_ready(&self, reasoner: Pid) -> bool {
        self.last_ready() == Some(reasoner)
    }

    /// Waits until the model process answers; its process id.
    pub(crate) async fn until_reasoner_is_ready(&self) -> Pid {
        let loading = async {
            loop {
                // The log is older than the agent: one that an earlier one had may not be collected yet.
                let own = |pid: &Pid| self.reasoners().contains(pid);
                if let Some(pid) = self.last_ready().filter(own) {
                    return pid;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // A debug build on a busy machine takes its time over a model.
        let ready = tokio::time::timeout(Duration::from_mins(2), loading).await;
        ready.unwrap_or_else(|_| panic!("the reasoner is not ready: {}", self.log()))
    }

    /// The process of the model, while there is one.
    pub(crate) fn reasoner(&self) -> Option<Pid> {
        self.reasoners().first().copied()
    }

    /// All processes of models.
    pub(crate) fn reasoners(&self) -> Vec<Pid> {
        let Some(agent) = self.agent.as_ref().and_then(Child::id) else { return Vec::new() };
        let Ok(threads) = std::fs::read_dir(format!("/proc/{agent}/task")) else { return Vec::new() };
        let children = threads.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("children")).ok());
        let is_reasoner = |pid: &str| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            (line.split('\0').nth(1) == Some("reasoner")).then_some(())
        };
        let pids = children.collect::<String>();
        let pids = pids.split_whitespace().filter(|pid| is_reasoner(pid).is_some());
        pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }

    /// The most memory that the guard process has held, MB.
    pub(crate) fn peak_mb(&self) -> u64 {
        let pid = self.agent.as_ref().unwrap().id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr.txt")).unwrap()
    }
}

fn isotherm_command(dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isotherm"));
    command.current_dir(dir.path()).kill_on_drop(true);
    command
}

fn spawn(dir: &tempfile::TempDir, environment: &[(String, String)]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.path().join("stderr.txt")).unwrap();
    isotherm_command(dir)
        .args(["run", "--site", "site.toml"])
        .stdout(Stdio::null())
        .stderr(log)
        .env("NO_COLOR", "1")
        .envs(environment.iter().cloned())
        .spawn()
        .unwrap()
}
