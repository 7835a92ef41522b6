//! What is given up when memory runs short, and taken back when it does not.
//!
//! ```text
//!         short of memory: at once, as far down as asked for
//!   ┌──────────────┬──────────────┬──────────────┐
//!   │              ▼              ▼              ▼
//!  Full ◀─ calm ─ Short ◀─ calm ─ Small ◀─ calm ─ Parked
//!                 less history    restarted,     no model:
//!                 in prompts      small context  the fallback
//! ```
//!
//! Down is immediate, since the kernel will not wait. Up is one rung at a time, each after all readings were
//! better than needed, by a margin, for a while; after a relapse that while doubles. Whether the reasoner
//! can be started again counts what starting it would take.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::site;
use crate::units::Finite;

/// How much the reasoner may have, from the most to nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    #[default]
    Full,
    /// Prompts show less of the past.
    Short,
    /// Caches dropped: restarted with a small context.
    Small,
    /// Ended: the fallback decides.
    Parked,
}

impl Rung {
    pub const ALL: [Self; 4] = [Self::Full, Self::Short, Self::Small, Self::Parked];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Short => "short",
            Self::Small => "small",
            Self::Parked => "parked",
        }
    }

    fn up(self) -> Self {
        match self {
            Self::Full | Self::Short => Self::Full,
            Self::Small => Self::Short,
            Self::Parked => Self::Small,
        }
    }
}

/// What the kernel says at one moment. `None`: it does not say.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MemoryReading")]
pub struct Reading {
    /// What can be had without swapping, bytes.
    pub available: Option<u64>,
    /// Share of the last ten seconds in which something waited for memory, percent.
    pub pressure: Option<Finite>,
    pub group: Option<Group>,
}

/// The control group that the agent runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MemoryGroup")]
pub struct Group {
    /// Bytes that cannot simply be dropped: what is charged, less file pages not used lately.
    pub used: u64,
    /// The lower of `memory.high` and `memory.max`, bytes.
    pub limit: Option<u64>,
    pub events: Events,
}

/// Counters of `memory.events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MemoryEvents")]
pub struct Events {
    /// Times that tasks were slowed down to reclaim.
    pub high: u64,
    /// Times that the hard limit was met.
    pub max: u64,
    pub oom: u64,
    pub oom_kill: u64,
}

/// Why a rung was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "because", rename_all = "snake_case")]
#[schemars(rename = "MemoryCause")]
pub enum Cause {
    Available {
        mb: u64,
        below_mb: u64,
    },
    Pressure {
        pct: Finite,
        from_pct: Finite,
    },
    Group {
        pct: Finite,
        from_pct: Finite,
    },
    /// Counted in the control group since the last reading.
    Event {
        event: GroupEvent,
        times: u64,
    },
    /// Nothing spoke against the next rung for so long.
    Calm {
        for_s: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupEvent {
    High,
    Max,
    OomKill,
}

/// One step on the ladder, as it is recorded.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MemoryChange")]
pub struct Change {
    pub from: Rung,
    pub to: Rung,
    pub cause: Cause,
    pub reading: Reading,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from.as_str(), self.to.as_str(), self.cause)?;
        if let Some(bytes) = self.reading.available {
            write!(f, "; available {} MB", mb(bytes))?;
        }
        if let Some(pct) = self.reading.pressure {
            write!(f, "; pressure {pct} %")?;
        }
        if let Some(Group { used, limit: Some(limit), .. }) = self.reading.group {
            write!(f, "; control group {} of {} MB", mb(used), mb(limit))?;
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available { mb, below_mb } => write!(f, "{mb} MB available, below {below_mb}"),
            Self::Pressure { pct, from_pct } => write!(f, "memory pressure {pct} %, at or above {from_pct}"),
            Self::Group { pct, from_pct } => {
                write!(f, "{pct} % of the control group's limit, at or above {from_pct}")
            }
            Self::Event { event, times } => {
                let what = match event {
                    GroupEvent::High => "slowed down to reclaim (memory.high)",
                    GroupEvent::Max => "at its hard limit (memory.max)",
                    GroupEvent::OomKill => "out of memory, with a kill or near one",
                };
                write!(f, "control group {what}, {times} times")
            }
            Self::Calm { for_s } => write!(f, "enough memory for {for_s} s"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Ladder {
    settings: site::Memory,
    /// Bytes that starting the reasoner takes.
    load: u64,
    rung: Rung,
    hold: Duration,
    calm_since: Option<Duration>,
    rose_at: Option<Duration>,
    events: Option<Events>,
}

/// Relapses double the wait before a step up, to at most this many times the configured one.
const LONGEST_HOLD: u32 = 32;

impl Ladder {
    /// `load`: bytes that starting the reasoner takes.
    #[must_use]
    pub fn new(settings: site::Memory, load: u64) -> Self {
        let hold = settings.hold.unsigned_abs();
        Self { settings, load, rung: Rung::Full, hold, calm_since: None, rose_at: None, events: None }
    }

    #[must_use]
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// Takes a reading; `at` is any clock that does not go backwards.
    pub fn step(&mut self, at: Duration, reading: &Reading) -> Option<Change> {
        let events = reading.group.map(|g| g.events);
        let counted = self.counted(events.unwrap_or_default());
        self.events = events.or(self.events);

        if let Some((asked, cause)) = self.demand(reading, counted, false)
            && asked > self.rung
        {
            return Some(self.fall(at, asked, cause, reading));
        }
        let calm = self.demand(reading, counted, true).is_none_or(|(asked, _)| asked < self.rung);
        if self.rung == Rung::Full || !calm {
            self.calm_since = None;
            return None;
        }
        let calm_for = at.saturating_sub(*self.calm_since.get_or_insert(at));
        (calm_for >= self.hold).then(|| self.rise(at, calm_for, reading))
    }

    fn fall(&mut self, at: Duration, to: Rung, cause: Cause, reading: &Reading) -> Change {
        let base = self.settings.hold.unsigned_abs();
        let relapse = self.rose_at.is_some_and(|rose| at.saturating_sub(rose) < 2 * self.hold);
        self.hold = if relapse { (2 * self.hold).min(LONGEST_HOLD * base) } else { base };
        self.calm_since = None;
        let from = std::mem::replace(&mut self.rung, to);
        Change { from, to, cause, reading: *reading }
    }

    fn rise(&mut self, at: Duration, calm_for: Duration, reading: &Reading) -> Change {
        let to = self.rung.up();
        self.rose_at = Some(at);
        self.calm_since = None;
        let from = std::mem::replace(&mut self.rung, to);
        Change { from, to, cause: Cause::Calm { for_s: calm_for.as_secs() }, reading: *reading }
    }

    /// What the group counted since the last reading; the first one only begins the count.
    fn counted(&self, now: Events) -> Events {
        let last = self.events.unwrap_or(now);
        Events {
            high: now.high.saturating_sub(last.high),
            max: now.max.saturating_sub(last.max),
            oom: now.oom.saturating_sub(last.oom),
            oom_kill: now.oom_kill.saturating_sub(last.oom_kill),
        }
    }

    /// The lowest rung that a reading asks for. With `ease`, as needed for a step up: every threshold is
    /// harder to stay clear of by the margin, and a parked reasoner counts as started.
    fn demand(&self, reading: &Reading, counted: Events, ease: bool) -> Option<(Rung, Cause)> {
        let s = &self.settings;
        let margin = if ease { s.margin_pct.get() / 100.0 } else { 0.0 };
        let load = if ease && self.rung == Rung::Parked { self.load } else { 0 };
        let levels = [(Rung::Parked, &s.parked), (Rung::Small, &s.small), (Rung::Short, &s.short)];
        levels.into_iter().find_map(|(rung, level)| {
            let available = reading.available.and_then(|bytes| {
                let below_mb = (level.available_mb as f64 * (1.0 + margin)) as u64;
                let mb = mb(bytes.saturating_sub(load));
                (mb < below_mb).then_some(Cause::Available { mb, below_mb })
            });
            let pressure = reading.pressure.and_then(|pct| {
                let from_pct = eased(level.pressure_pct, margin);
                (pct >= from_pct).then_some(Cause::Pressure { pct, from_pct })
            });
            let group = reading.group.and_then(|g| {
                let used = g.used.saturating_add(load) as f64;
                let pct = Finite::new(100.0 * used / g.limit? as f64)?.rounded(1);
                let from_pct = eased(level.group_pct, margin);
                (pct >= from_pct).then_some(Cause::Group { pct, from_pct })
            });
            let (event, times) = match rung {
                Rung::Parked => (GroupEvent::OomKill, counted.oom.max(counted.oom_kill)),
                Rung::Small => (GroupEvent::Max, counted.max),
                Rung::Short | Rung::Full => (GroupEvent::High, counted.high),
            };
            let event = (times > 0).then_some(Cause::Event { event, times });
            Some((rung, event.or(available).or(group).or(pressure)?))
        })
    }
}

fn eased(threshold: Finite, margin: f64) -> Finite {
    Finite::new(threshold.get() * (1.0 - margin)).unwrap_or(threshold).rounded(1)
}

fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}

#[cfg(test)]
mod tests;
