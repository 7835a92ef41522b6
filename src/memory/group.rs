//! A control group (v2) for the reasoner alone, below the one the agent was started in, so that the kernel
//! reclaims from it and kills in it without looking at the guard.
//!
//! ```text
//!  isotherm.service          memory of both; no processes of its own, as the kernel demands
//!  ├── guard                 this process
//!  ├── reasoner              memory.high, memory.max; killed as one
//!  └── candidate             the same again, for a model that is tried
//! ```
//!
//! That takes a group that was handed to the agent for this (systemd: `Delegate=yes`). Any other is left
//! alone, and an address-space limit has to do.

use std::fs;
use std::path::{Path, PathBuf};

use super::kernel;

/// Reclaiming begins here, percent of the hard limit.
const HIGH_PCT: u64 = 90;

/// The reasoner's group.
#[derive(Clone, Debug)]
pub struct ReasonerGroup(PathBuf);

/// Why the reasoner gets no group of its own.
#[derive(Debug, thiserror::Error)]
pub enum NoGroup {
    #[error("there are no control groups of version 2 here")]
    NoneHere,
    #[error("{group}: memory is not accounted for in it (cgroup.controllers has no \"memory\")", group = group.display())]
    NoMemoryController { group: PathBuf },
    #[error("{group}: {others} other processes are in it; give the agent a group of its own (systemd: a unit with Delegate=yes)", group = group.display())]
    Shared { group: PathBuf, others: usize },
    #[error("{path}: {source}; the group has to be handed to the agent (systemd: Delegate=yes)", path = path.display())]
    NotWritable { path: PathBuf, source: std::io::Error },
}

impl ReasonerGroup {
    /// Splits the group of this process in two, if it is this process's alone. `limit`: bytes that the
    /// reasoner may have.
    pub fn make(limit: Option<u64>) -> Result<Self, NoGroup> {
        let group = kernel::own_group().ok_or(NoGroup::NoneHere)?;
        Self::below(&group, std::process::id(), limit)
    }

    /// Whether [`Self::make`] has a chance, without changing anything.
    pub fn could_be_made() -> Result<PathBuf, NoGroup> {
        let group = kernel::own_group().ok_or(NoGroup::NoneHere)?;
        check(&group, std::process::id())?;
        let path = group.join("cgroup.subtree_control");
        match fs::OpenOptions::new().write(true).open(&path) {
            Ok(_) => Ok(group),
            Err(source) => Err(NoGroup::NotWritable { path, source }),
        }
    }

    fn below(group: &Path, own_pid: u32, limit: Option<u64>) -> Result<Self, NoGroup> {
        check(group, own_pid)?;
        let (guard, reasoner) = (group.join("guard"), group.join("reasoner"));
        for folder in [&guard, &reasoner] {
            // Left by an earlier run in the same group.
            if !folder.is_dir() {
                fs::create_dir(folder)
                    .map_err(|source| NoGroup::NotWritable { path: folder.clone(), source })?;
            }
        }
        write(&guard, "cgroup.procs", own_pid)?;
        if let Err(refused) = write(group, "cgroup.subtree_control", "+memory") {
            write(group, "cgroup.procs", own_pid)?;
            return Err(refused);
        }
        Self::limited(reasoner, limit)
    }

    /// A second one beside it with the same limit, so that a candidate does not have the deciding model killed.
    pub fn beside(&self, limit: Option<u64>) -> Result<Self, NoGroup> {
        let folder = self.0.with_file_name("candidate");
        if !folder.is_dir() {
            fs::create_dir(&folder)
                .map_err(|source| NoGroup::NotWritable { path: folder.clone(), source })?;
        }
        Self::limited(folder, limit)
    }

    fn limited(folder: PathBuf, limit: Option<u64>) -> Result<Self, NoGroup> {
        write(&folder, "memory.oom.group", 1)?;
        if let Some(bytes) = limit {
            write(&folder, "memory.max", bytes)?;
            write(&folder, "memory.high", bytes / 100 * HIGH_PCT)?;
        }
        Ok(Self(folder))
    }

    /// Puts a process into the group.
    pub fn admit(&self, pid: u32) -> Result<(), NoGroup> {
        write(&self.0, "cgroup.procs", pid)
    }
}

fn check(group: &Path, own_pid: u32) -> Result<(), NoGroup> {
    let read = |file: &str| {
        let path = group.join(file);
        fs::read_to_string(&path).map_err(|source| NoGroup::NotWritable { path, source })
    };
    if !read("cgroup.controllers")?.split_whitespace().any(|c| c == "memory") {
        return Err(NoGroup::NoMemoryController { group: group.to_owned() });
    }
    let own = own_pid.to_string();
    let others = read("cgroup.procs")?.lines().filter(|pid| *pid != own).count();
    if others > 0 {
        return Err(NoGroup::Shared { group: group.to_owned(), others });
    }
    Ok(())
}

fn write(folder: &Path, file: &str, value: impl std::fmt::Display) -> Result<(), NoGroup> {
    let path = folder.join(file);
    fs::write(&path, value.to_string()).map_err(|source| NoGroup::NotWritable { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 4711;

    /// Plain files in place of the kernel's: enough to see what is written where.
    fn group(controllers: &str, procs: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), controllers).unwrap();
        fs::write(dir.path().join("cgroup.procs"), procs).unwrap();
        dir
    }

    #[test]
    fn the_reasoner_gets_a_limited_group_beside_the_guards() {
        let dir = group("cpu memory pids\n", "4711\n");
        let made = ReasonerGroup::below(dir.path(), PID, Some(400_000_000)).unwrap();
        made.admit(4712).unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read("guard/cgroup.procs"), "4711");
        assert_eq!(read("cgroup.subtree_control"), "+memory");
        assert_eq!(read("reasoner/memory.max"), "400000000");
        assert_eq!(read("reasoner/memory.high"), "360000000");
        assert_eq!(read("reasoner/memory.oom.group"), "1");
        assert_eq!(read("reasoner/cgroup.procs"), "4712");
        made.beside(Some(400_000_000)).unwrap().admit(4713).unwrap();
        assert_eq!(read("candidate/memory.max"), "400000000");
        assert_eq!(read("candidate/cgroup.procs"), "4713");
        assert_eq!(read("reasoner/cgroup.procs"), "4712");
    }

    #[test]
    fn a_group_that_is_not_the_agents_alone_is_left_as_it_is() {
        let shared = group("memory\n", "4711\n1\n");
        assert!(matches!(
            ReasonerGroup::below(shared.path(), PID, None),
            Err(NoGroup::Shared { others: 1, .. })
        ));
        let blind = group("hugetlb\n", "4711\n");
        let told = ReasonerGroup::below(blind.path(), PID, None).unwrap_err();
        assert!(matches!(told, NoGroup::NoMemoryController { .. }), "{told}");
        for dir in [shared, blind] {
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was made");
        }
    }
}
