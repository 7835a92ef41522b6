//! Reads what the kernel says about memory: `/proc` and the control group (v2) of this process.
//!
//! A file that is not there is nothing unusual (a kernel without PSI, version 1 of control groups) and
//! reads as `None`. One that is there and cannot be understood is an error.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::ladder::{Events, Group, Reading};
use crate::units::Finite;

pub const MEMINFO: &str = "/proc/meminfo";
pub const PRESSURE: &str = "/proc/pressure/memory";
/// Where control groups of version 2 are mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("{path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: expected {expected}, found {found:?}", path = path.display())]
    Unexpected { path: PathBuf, expected: &'static str, found: String },
}

/// The files that are read again and again.
#[derive(Clone, Debug)]
pub struct Kernel {
    meminfo: PathBuf,
    pressure: PathBuf,
    /// Folder of the control group, where it accounts for memory.
    group: Option<PathBuf>,
}

impl Kernel {
    /// This machine, and the control group that this process is in now: the one that bounds the whole agent,
    /// even if its processes get groups of their own below it later.
    #[must_use]
    pub fn here() -> Self {
        let group = own_group().filter(|folder| folder.join("memory.current").exists());
        Self { meminfo: MEMINFO.into(), pressure: PRESSURE.into(), group }
    }

    pub fn sample(&self) -> Result<Reading, KernelError> {
        let group = self.group.as_deref().map(group).transpose()?.flatten();
        let own = self.group.as_deref().map(|g| pressure(&g.join("memory.pressure"))).transpose()?.flatten();
        Ok(Reading {
            available: bytes_in(&self.meminfo, "MemAvailable")?,
            // A group without limits waits for the machine's memory, which its own pressure shows as well.
            pressure: match own {
                Some(pct) => Some(pct),
                None => pressure(&self.pressure)?,
            },
            group,
        })
    }
}

/// The folder of this process's control group, version 2.
#[must_use]
pub fn own_group() -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::"))?.trim_start_matches('/');
    let root = MOUNTS.iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists())?;
    Some(root.join(path))
}

/// The text of a file; `None` if it is not there, or not supported (PSI switched off reads so).
pub fn text(path: &Path) -> Result<Option<String>, KernelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => Ok(None),
        Err(source) => Err(KernelError::Unreadable { path: path.to_owned(), source }),
    }
}

/// A line of `/proc/meminfo`, or of a `status` of a process, in bytes.
pub fn bytes_in(path: &Path, key: &str) -> Result<Option<u64>, KernelError> {
    let Some(text) = text(path)? else { return Ok(None) };
    let Some(line) = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')) else {
        return Ok(None);
    };
    let kb = line.trim().strip_suffix(" kB").and_then(|n| n.parse::<u64>().ok());
    match kb.and_then(|kb| kb.checked_mul(1024)) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(unexpected(path, "a number of kB", line)),
    }
}

/// The ten-second average of `some`: the share of time in which at least one task waited for memory.
pub fn pressure(path: &Path) -> Result<Option<Finite>, KernelError> {
    let Some(text) = text(path)? else { return Ok(None) };
    let average = text.lines().find_map(|l| l.strip_prefix("some avg10=")?.split(' ').next());
    match average.and_then(|a| a.parse().ok()).and_then(Finite::new) {
        Some(pct) => Ok(Some(pct)),
        None => Err(unexpected(path, "a line \"some avg10=NUMBER …\"", &text)),
    }
}

/// `None` when the group went away.
fn group(folder: &Path) -> Result<Option<Group>, KernelError> {
    let Some(current) = number(&folder.join("memory.current"))? else { return Ok(None) };
    let stat = text(&folder.join("memory.stat"))?.unwrap_or_default();
    let dropable = stat.lines().find_map(|l| l.strip_prefix("inactive_file ")?.parse().ok()).unwrap_or(0);
    let limits = [number(&folder.join("memory.high"))?, number(&folder.join("memory.max"))?];
    let counts = text(&folder.join("memory.events"))?.unwrap_or_default();
    let count = |name: &str| {
        let of = |l: &str| l.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        counts.lines().find_map(of).unwrap_or(0)
    };
    Ok(Some(Group {
        used: current.saturating_sub(dropable),
        limit: limits.into_iter().flatten().min(),
        events: Events {
            high: count("high"),
            max: count("max"),
            oom: count("oom"),
            oom_kill: count("oom_kill"),
        },
    }))
}

/// A file with one number, or `max` for none.
pub fn number(path: &Path) -> Result<Option<u64>, KernelError> {
    let Some(text) = text(path)? else { return Ok(None) };
    match text.trim() {
        "max" => Ok(None),
        number => number.parse().map(Some).map_err(|_| unexpected(path, "a number or \"max\"", &text)),
    }
}

fn unexpected(path: &Path, expected: &'static str, found: &str) -> KernelError {
    let found = found.chars().take(80).collect();
    KernelError::Unexpected { path: path.to_owned(), expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as the kernel shows them.
    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Kernel) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let kernel =
            Kernel { meminfo: at("meminfo"), pressure: at("pressure"), group: Some(dir.path().to_owned()) };
        (dir, kernel)
    }

    const FULL: [(&str, &str); 7] = [
        ("meminfo", "MemTotal:       24631812 kB\nMemFree: 1 kB\nMemAvailable:   24117248 kB\n"),
        (
            "pressure",
            "some avg10=1.25 avg60=0.00 avg300=0.05 total=831820\nfull avg10=9.00 avg60=0 total=1\n",
        ),
        ("memory.current", "900000000\n"),
        ("memory.stat", "anon 5\ninactive_file 100000000\nactive_file 7\n"),
        ("memory.high", "max\n"),
        ("memory.max", "1000000000\n"),
        ("memory.events", "low 9\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n"),
    ];

    #[test]
    fn every_number_comes_from_its_own_line() {
        let (_dir, kernel) = machine(&FULL);
        let reading = kernel.sample().unwrap();
        assert_eq!(reading.available, Some(24_117_248 * 1024));
        assert_eq!(reading.pressure, Some(Finite::constant(1.25)));
        let events = Events { high: 1, max: 2, oom: 3, oom_kill: 4 };
        assert_eq!(reading.group, Some(Group { used: 800_000_000, limit: Some(1_000_000_000), events }));
    }

    #[test]
    fn the_groups_own_pressure_goes_first() {
        let (dir, kernel) = machine(&FULL);
        std::fs::write(dir.path().join("memory.pressure"), "some avg10=33.00 avg60=0 total=1\n").unwrap();
        assert_eq!(kernel.sample().unwrap().pressure, Some(Finite::constant(33.0)));
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        let (_dir, kernel) = machine(&[("meminfo", "MemTotal: 5 kB\n")]);
        assert_eq!(kernel.sample().unwrap(), Reading::default());
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_names_the_file() {
        for (name, text) in [
            ("meminfo", "MemAvailable: many kB\n"),
            ("pressure", "some avg10=NaN\n"),
            ("pressure", ""),
            ("memory.current", "-1\n"),
            ("memory.max", "lots\n"),
        ] {
            let mut files = FULL.to_vec();
            files.retain(|(n, _)| *n != name);
            files.push((name, text));
            let (_dir, kernel) = machine(&files);
            let error = kernel.sample().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("expected"), "{error}");
        }
    }

    /// Whatever this machine is, it can be read.
    #[test]
    fn this_kernel_is_understood() {
        let reading = Kernel::here().sample().unwrap();
        assert!(reading.available.unwrap() > 1_000_000, "{reading:?}");
    }
}
