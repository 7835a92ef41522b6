//! Events that somebody should have seen.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{Body, Event};
use super::{Controller, Effect};

/// The most alarms that wait at a time; the oldest gives way. All of them stay in the log.
const MOST: usize = 100;

/// An event that nobody has acknowledged, of this run or of one before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// Of the event's record.
    pub seq: u64,
    pub time: Timestamp,
    pub event: Event,
    pub detail: String,
}

impl Event {
    /// Whether a person has to look at it, rather than read of it later.
    #[must_use]
    pub fn is_alarm(self) -> bool {
        match self {
            Self::LinkDown
            | Self::Emergency
            | Self::ManualHold
            | Self::NotFollowing
            | Self::WriteFailed
            | Self::ClockBackwards
            | Self::Orphans
            | Self::SwitchedOff
            | Self::StandingLost
            | Self::AuditLost
            | Self::Broken => true,
            Self::LinkUp
            | Self::TakeControl
            | Self::Release
            | Self::ModeChange
            | Self::EmergencyOver
            | Self::AdviceExpired
            | Self::OverrideExpired
            | Self::DirectiveExpired
            | Self::Memory
            | Self::Resolution
            | Self::Stopping
            | Self::Reload
            | Self::Archived
            | Self::UpgradeShadow
            | Self::UpgradeDue
            | Self::UpgradeAccepted
            | Self::UpgradeReverted
            | Self::UpgradeAbandoned
            | Self::UpgradeResumed
            | Self::StandingResumed
            | Self::ReloadRefused
            | Self::Acceptance => false,
        }
    }
}

impl Controller {
    /// What waits to be acknowledged, oldest first.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// Keeps the alarms among these effects, whose first record has the number `seq`.
    pub(super) fn raise_alarms(&mut self, now: Timestamp, mut seq: u64, effects: &[Effect]) {
        for effect in effects {
            let Effect::Record(body) = effect else { continue };
            if let Body::Event(e) = body
                && e.event.is_alarm()
            {
                self.alarms.push(Alarm { seq, time: now, event: e.event, detail: e.detail.clone() });
            }
            seq += 1;
        }
        keep_newest(&mut self.alarms);
    }

    /// What waited when the run before ended, in front of what has been raised since.
    pub(super) fn recall_alarms(&mut self, left: Vec<Alarm>) {
        self.alarms.splice(..0, left);
        keep_newest(&mut self.alarms);
    }
}

pub(super) fn keep_newest(alarms: &mut Vec<Alarm>) {
    let over = alarms.len().saturating_sub(MOST);
    alarms.drain(..over);
}
