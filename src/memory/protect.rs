//! Tells the kernel that the guard is not to be swapped out and not to be killed.

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Among the last to be killed; -1000 would be never.
pub const GUARD_SCORE: i16 = -900;
/// Among the first; 1000 is the most.
pub const REASONER_SCORE: i16 = 900;
/// Before that one.
pub const CANDIDATE_SCORE: i16 = 1000;
pub const SCORE_FILE: &str = "/proc/self/oom_score_adj";

/// Locks this process in memory: pages that it has now, and those to come when it first uses them.
///
/// Under a limit on locked memory, asking for pages to come would turn every allocation past the limit into
/// a failure, and a guard that cannot allocate is worse than one that may be swapped. So that is asked for
/// only where there is no limit.
pub fn lock() -> Result<(), NotLocked> {
    if !may_lock() {
        let limit_kb = getrlimit(Resource::Memlock).current.unwrap_or(0) / 1024;
        return Err(NotLocked::Limited { limit_kb });
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(NotLocked::Refused)
}

/// Whether memory can be locked without a limit.
#[must_use]
pub fn may_lock() -> bool {
    has(CapabilitySet::IPC_LOCK) || getrlimit(Resource::Memlock).current.is_none()
}

#[derive(Debug, thiserror::Error)]
pub enum NotLocked {
    #[error(
        "only {limit_kb} kB may be locked: allow it without limit (systemd: LimitMEMLOCK=infinity), or give CAP_IPC_LOCK"
    )]
    Limited { limit_kb: u64 },
    #[error("mlockall: {0}")]
    Refused(Errno),
}

/// Lowers this process's score in the kernel's choice of whom to kill.
pub fn lower_score() -> Result<(), NotLowered> {
    std::fs::write(SCORE_FILE, GUARD_SCORE.to_string()).map_err(NotLowered)
}

/// Whether the score may be lowered. The kernel asks for `CAP_SYS_RESOURCE`, even of root.
#[must_use]
pub fn may_lower_score() -> bool {
    let now = std::fs::read_to_string(SCORE_FILE).ok().and_then(|s| s.trim().parse::<i16>().ok());
    has(CapabilitySet::SYS_RESOURCE) || now.is_some_and(|now| now <= GUARD_SCORE)
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{SCORE_FILE}: {0}. Lowering it takes CAP_SYS_RESOURCE, or a service manager that does it (systemd: OOMScoreAdjust={GUARD_SCORE})"
)]
pub struct NotLowered(std::io::Error);

fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}
