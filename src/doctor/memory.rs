//! The machine's memory in the kernel's own terms: what may be reserved, what is there, what limits it,
//! and who is killed first when it is gone.

use std::fmt::Write;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::{Finding, Level, read};
use crate::memory::group::ReasonerGroup;
use crate::memory::kernel::{self, KernelError, MEMINFO, PRESSURE};
use crate::memory::protect::{self, GUARD_SCORE, REASONER_SCORE};
use crate::site::{Backend, Site};

/// What the guard holds at most, with its log and console.
const GUARD_MB: u64 = 64;

pub(super) fn examine(site: Option<&Site>) -> Vec<Finding> {
    vec![
        available(site),
        overcommit(),
        swap(),
        limits(),
        cgroup(),
        lockable(),
        own_score(),
        first_to_go(site),
        pressure(),
    ]
}

fn meminfo_mb(key: &str) -> Option<u64> {
    kernel::bytes_in(Path::new(MEMINFO), key).ok().flatten().map(|bytes| bytes / 1_000_000)
}

/// The weights are most of what the reasoner takes.
fn model_mb(site: Option<&Site>) -> Option<u64> {
    let model = &site?.model;
    let file = (model.backend == Backend::Local).then_some(model.path.as_deref()).flatten()?;
    file.metadata().ok().map(|f| f.len() / 1_000_000)
}

fn available(site: Option<&Site>) -> Finding {
    let (Some(total), Some(available)) = (meminfo_mb("MemTotal"), meminfo_mb("MemAvailable")) else {
        return Finding::new(
            "memory",
            Level::Warn,
            format!("{MEMINFO} does not say"),
            "the admission check before loading a model and the memory ladder cannot work",
        );
    };
    let found = format!("{available} MB available of {total} MB");
    let memory = site.map_or_else(crate::site::Memory::default, |s| s.memory.clone());
    let rungs = format!(
        "the ladder: less history below {} MB, a small context below {}, no model below {}",
        memory.short.available_mb, memory.small.available_mb, memory.parked.available_mb
    );
    if available < memory.short.available_mb {
        return Finding::new("memory", Level::Warn, found, format!("short already; {rungs}"));
    }
    Finding::new(
        "memory",
        Level::Ok,
        found,
        format!("before a model is loaded, weights + cache + buffers are compared with this; then {rungs}"),
    )
}

fn overcommit() -> Finding {
    let mode = read("/proc/sys/vm/overcommit_memory");
    let committed = meminfo_mb("Committed_AS").zip(meminfo_mb("CommitLimit"));
    let promised = committed
        .map_or_else(String::new, |(now, most)| format!("; {now} MB promised, strict limit {most} MB"));
    match mode.as_deref() {
        Some("2") => Finding::new(
            "overcommit",
            Level::Warn,
            format!("vm.overcommit_memory = 2 (strict){promised}"),
            "reserving fails at the limit although memory is free: the model may be refused, which is handled, and the fallback controls",
        ),
        Some(mode) => Finding::new(
            "overcommit",
            Level::Ok,
            format!(
                "vm.overcommit_memory = {mode} ({}){promised}",
                if mode == "1" { "never refuses" } else { "refuses only what cannot fit at all" }
            ),
            "reserving succeeds and first use takes the page: a shortage shows later, as reclaim, then swap, then a kill",
        ),
        None => Finding::new("overcommit", Level::Warn, "unknown", "not Linux, or /proc is not mounted"),
    }
}

fn swap() -> Finding {
    match (meminfo_mb("SwapTotal"), meminfo_mb("SwapFree")) {
        (Some(0), _) => Finding::new(
            "swap",
            Level::Ok,
            "none",
            "under pressure the kernel drops file pages (the mapped model first), then kills; there is no slow middle",
        ),
        (Some(total), free) => Finding::new(
            "swap",
            Level::Ok,
            format!(
                "{} of {total} MB free, vm.swappiness = {}",
                free.unwrap_or(0),
                read("/proc/sys/vm/swappiness").unwrap_or_default()
            ),
            "the guard asks to be locked in memory so that it never waits for swap; the reasoner may be swapped, and then answers late",
        ),
        (None, _) => Finding::new("swap", Level::Warn, "unknown", format!("{MEMINFO} is not readable")),
    }
}

fn limits() -> Finding {
    let show = |name: &str, resource| {
        let limit = getrlimit(resource).current;
        let limit = limit.map_or("unlimited".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000));
        format!("{name} {limit}")
    };
    let found =
        [show("address space", Resource::As), show("data", Resource::Data), show("stack", Resource::Stack)]
            .join(", ");
    let bounded = getrlimit(Resource::As).current.is_some() || getrlimit(Resource::Data).current.is_some();
    if bounded {
        return Finding::new(
            "limits",
            Level::Warn,
            found,
            "these bind the guard too, and one that cannot allocate ends: limit the reasoner with model.memory_limit_mb instead",
        );
    }
    Finding::new(
        "limits",
        Level::Ok,
        found,
        "nothing here makes an allocation of the guard fail; model.memory_limit_mb bounds the reasoner alone",
    )
}

fn cgroup() -> Finding {
    let can_split = ReasonerGroup::could_be_made();
    let Some(group) = kernel::own_group() else {
        return Finding::new(
            "cgroup",
            Level::Ok,
            "no group of version 2",
            "the reasoner is limited by its address space instead (model.memory_limit_mb)",
        );
    };
    let mut found = format!("v2 {}", group.display());
    for file in ["memory.current", "memory.high", "memory.max"] {
        match kernel::number(&group.join(file)) {
            Ok(Some(bytes)) => write!(found, ", {file} {} MB", bytes / 1_000_000),
            Ok(None) if group.join(file).exists() => write!(found, ", {file} max"),
            Ok(None) => continue,
            Err(error) => write!(found, ", {error}"),
        }
        // Writing to a string does not fail.
        .ok();
    }
    let means = match can_split {
        Ok(_) => "the reasoner gets a group of its own below this one: reclaimed from at memory.high, killed at memory.max, without the guard".to_owned(),
        Err(why) => format!("no group for the reasoner alone: {why}. It is limited by its address space instead (model.memory_limit_mb)"),
    };
    Finding::new("cgroup", Level::Ok, found, means)
}

fn lockable() -> Finding {
    let limit = getrlimit(Resource::Memlock).current;
    let text = limit.map_or("unlimited".to_owned(), |bytes| format!("limit {} kB", bytes / 1024));
    if protect::may_lock() {
        let right = if limit.is_some() { ", but CAP_IPC_LOCK lifts it" } else { "" };
        Finding::new(
            "mlock",
            Level::Ok,
            format!("{text}{right}"),
            "the guard is locked in memory: its pages are neither swapped nor dropped",
        )
    } else {
        Finding::new(
            "mlock",
            Level::Warn,
            text,
            "the guard is not locked in memory and may be swapped out: allow it without limit (systemd: LimitMEMLOCK=infinity), or give CAP_IPC_LOCK",
        )
    }
}

fn own_score() -> Finding {
    let own = read(protect::SCORE_FILE).unwrap_or_else(|| "unknown".to_owned());
    let found = format!("oom_score_adj = {own}");
    if protect::may_lower_score() {
        Finding::new(
            "oom",
            Level::Ok,
            found,
            format!("the guard lowers its own to {GUARD_SCORE}, the reasoner raises its to {REASONER_SCORE}"),
        )
    } else {
        Finding::new(
            "oom",
            Level::Warn,
            found,
            format!(
                "without CAP_SYS_RESOURCE the guard cannot lower its own (systemd: OOMScoreAdjust={GUARD_SCORE}); the reasoner still raises its to {REASONER_SCORE}, so it is chosen first"
            ),
        )
    }
}

/// A process as the kernel ranks it for killing.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    score: i64,
    what: String,
}

/// The kernel ranks by memory used, in thousandths of all memory, plus `oom_score_adj`; the file shows it
/// so that 0 stays 0 (`proc_oom_score`: two thirds of the sum and 1000).
fn score(used_mb: u64, total_mb: u64, adj: i64) -> i64 {
    let thousandths = (1000 * used_mb / total_mb.max(1)) as i64;
    ((1000 + thousandths + adj) * 2 / 3).max(0)
}

/// The running processes; our own by name.
fn ranked() -> Vec<Ranked> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    let processes = folder.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let file = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        let score = file("oom_score")?.trim().parse().ok()?;
        // Without a command line it is a kernel thread, which is never killed.
        let line = file("cmdline").filter(|line| !line.is_empty())?;
        let name = file("comm")?.trim().to_owned();
        let role = line.split('\0').nth(1).unwrap_or_default();
        let what = if name.starts_with("isotherm") {
            format!("isotherm {role} ({pid})")
        } else {
            format!("{name} ({pid})")
        };
        (pid != std::process::id()).then_some(Ranked { score, what })
    });
    let mut ranked: Vec<Ranked> = processes.collect();
    ranked.sort_by(|a, b| b.cmp(a));
    ranked
}

fn first_to_go(site: Option<&Site>) -> Finding {
    let topic = "killed first";
    let (others, total) = (ranked(), meminfo_mb("MemTotal").unwrap_or(0));
    let Some(highest) = others.first() else {
        return Finding::new(topic, Level::Warn, "unknown", "/proc shows no other processes");
    };
    let own: i64 = read(protect::SCORE_FILE).and_then(|adj| adj.parse().ok()).unwrap_or(0);
    let guard_adj = if protect::may_lower_score() { i64::from(GUARD_SCORE) } else { own };
    let guard = score(GUARD_MB, total, guard_adj);
    let reasoner = score(model_mb(site).unwrap_or(0), total, i64::from(REASONER_SCORE));
    let running =
        others.iter().filter(|r| r.what.starts_with("isotherm ")).map(|r| format!("{} {}", r.what, r.score));
    let running: Vec<String> = running.collect();
    let mut found = format!(
        "oom_score: reasoner {reasoner}, guard {guard} once started; highest here {} {}",
        highest.what, highest.score
    );
    if !running.is_empty() {
        write!(found, "; running: {}", running.join(", ")).ok();
    }
    let ours = highest.what.starts_with("isotherm reasoner");
    if reasoner < highest.score && !ours {
        return Finding::new(
            topic,
            Level::Warn,
            found,
            format!(
                "{} would be killed before the reasoner: it has asked to be, or holds more",
                highest.what
            ),
        );
    }
    let between = others.iter().filter(|r| r.score >= guard && !r.what.starts_with("isotherm ")).count();
    let means = format!(
        "the reasoner goes first, having asked to; {between} other processes rank before or beside the guard"
    );
    Finding::new(topic, Level::Ok, found, means)
}

fn pressure() -> Finding {
    match kernel::pressure(Path::new(PRESSURE)) {
        Ok(Some(pct)) => Finding::new(
            "pressure",
            Level::Ok,
            format!("some avg10 = {pct} %"),
            "the share of time that something waits for memory is seen before the kernel must kill",
        ),
        Ok(None) => Finding::new(
            "pressure",
            Level::Warn,
            format!("no {PRESSURE}"),
            "kernel without PSI (CONFIG_PSI, boot option psi=1): only MemAvailable and the control group are watched",
        ),
        Err(error @ (KernelError::Unreadable { .. } | KernelError::Unexpected { .. })) => {
            Finding::new("pressure", Level::Warn, error.to_string(), "memory pressure is not watched")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of a process says what the formula says of it.
    #[test]
    fn scores_are_the_kernels_own() {
        let number = |text: String| text.trim().parse::<i64>().unwrap();
        let file = |name: &str| number(std::fs::read_to_string(format!("/proc/self/{name}")).unwrap());
        let pages: u64 =
            std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let told = score(pages * 4096 / 1_000_000, meminfo_mb("MemTotal").unwrap(), file("oom_score_adj"));
        let kernels = file("oom_score");
        // Page tables and swap count there too, and the kernel knows its memory to the page.
        assert!((told - kernels).abs() <= 5, "{told} against {kernels}");
    }

    #[test]
    fn the_reasoner_ranks_before_whatever_fills_the_machine() {
        let (total, all) = (24_000, 24_000);
        assert!(score(300, total, i64::from(REASONER_SCORE)) > score(all / 2, total, 0));
        assert!(score(GUARD_MB, total, i64::from(GUARD_SCORE)) < score(0, total, 0));
    }
}
