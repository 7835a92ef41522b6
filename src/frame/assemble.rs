use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::quality::Track;
use super::{Doubt, Frame, Quality, Sample};
use crate::ingest::Reading;
use crate::ingest::modbus::Polled;
use crate::site::{Name, Site};
use crate::units::Finite;
use crate::workload::{Board, Heard, Job, Refused};

/// Turns readings into frames: readings go in as they come, a frame comes out when it is time.
///
/// Pure: time comes in as a value, and is one clock for `Reading::received` and `snapshot` alike.
#[derive(Clone, Debug)]
pub struct Assembler {
    signals: BTreeMap<Name, Track>,
    setpoints: BTreeMap<Name, Track>,
    active: BTreeMap<Name, Track>,
    enable: Option<Track>,
    twins: Vec<TwinGroup>,
    board: Board,
}

impl Assembler {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        let mut groups: BTreeMap<&Name, Vec<Name>> = BTreeMap::new();
        for signal in &site.signals {
            if let Some(group) = &signal.twin_group {
                groups.entry(group).or_default().push(signal.name.clone());
            }
        }
        let twins = groups
            .into_values()
            .filter(|members| members.len() > 1)
            .map(|members| TwinGroup {
                members,
                tolerance: site.envelope.twin_tolerance,
                patience: site.envelope.twin_for,
                off_since: BTreeMap::new(),
            })
            .collect();
        Self {
            signals: site.signals.iter().map(|s| (s.name.clone(), Track::of_signal(s))).collect(),
            setpoints: site
                .setpoints
                .iter()
                .map(|s| (s.name.clone(), Track::of_setpoint(s, site.sample)))
                .collect(),
            active: site
                .setpoints
                .iter()
                .filter(|s| s.active.is_some())
                .map(|s| (s.name.clone(), Track::of_active(s, site.sample)))
                .collect(),
            enable: site.link.enable.as_ref().map(|_| Track::of_enable(site.sample)),
            twins,
            board: Board::new(site),
        }
    }

    /// The limits of the setpoints have changed: what their registers may plausibly hold goes with them.
    pub fn go_by(&mut self, site: &Site) {
        for s in &site.setpoints {
            let tracks = [
                (self.setpoints.get_mut(&s.name), Track::of_setpoint(s, site.sample)),
                (self.active.get_mut(&s.name), Track::of_active(s, site.sample)),
            ];
            for (track, like) in tracks {
                if let Some(track) = track {
                    track.judge_like(&like);
                }
            }
        }
    }

    /// Takes a reading in; one whose name the site does not have is ignored.
    pub fn push(&mut self, reading: &Reading) {
        let track = self.signals.get_mut(&reading.name).or_else(|| self.setpoints.get_mut(&reading.name));
        if let Some(track) = track {
            track.push(reading);
        }
    }

    /// Takes in what a plant shows as the setpoint in force.
    pub fn push_active(&mut self, reading: &Reading) {
        if let Some(track) = self.active.get_mut(&reading.name) {
            track.push(reading);
        }
    }

    /// Takes in all that a round of registers has brought.
    pub fn take(&mut self, polled: &Polled) {
        polled.readings.iter().for_each(|r| self.push(r));
        polled.active.iter().for_each(|r| self.push_active(r));
        self.enable.iter_mut().zip(&polled.enable).for_each(|(track, r)| track.push(r));
    }

    /// Takes in what a scheduler says of a job.
    pub fn announce(&mut self, now: Timestamp, message: &[u8]) -> Result<Heard, Refused> {
        self.board.hear(now, message)
    }

    /// What is announced, as an earlier run left it.
    pub fn recall(&mut self, jobs: &[Job]) {
        self.board.recall(jobs);
    }

    #[must_use]
    pub fn announced(&self) -> Vec<Job> {
        self.board.jobs()
    }

    /// The site as it is known at `now`.
    pub fn snapshot(&mut self, now: Timestamp) -> Frame {
        let all = |tracks: &BTreeMap<Name, Track>| {
            tracks.iter().map(|(name, track)| (name.clone(), track.sample(now))).collect()
        };
        let mut signals = all(&self.signals);
        for group in &mut self.twins {
            group.leave_out(now, &mut signals);
        }
        let (setpoints, active) = (all(&self.setpoints), all(&self.active));
        let enable = self.enable.as_ref().map(|track| track.sample(now));
        Frame { time: now, signals, setpoints, active, enable, jobs: self.board.standing(now) }
    }
}

/// Sensors that measure the same thing.
#[derive(Clone, Debug)]
struct TwinGroup {
    members: Vec<Name>,
    tolerance: Finite,
    patience: SignedDuration,
    /// Since when a member has been off the others.
    off_since: BTreeMap<Name, Timestamp>,
}

impl TwinGroup {
    /// Marks members that disagree. Judged by the median of the good ones, so that one outlier does not
    /// drag the measure along; when only two are left and disagree, neither can be believed, and a
    /// single one has nothing to be compared with.
    fn leave_out(&mut self, now: Timestamp, signals: &mut BTreeMap<Name, Sample>) {
        let good: Vec<(Name, Finite)> =
            self.members.iter().filter_map(|name| Some((name.clone(), signals.get(name)?.good()?))).collect();
        let Some(middle) = median(good.iter().map(|(_, v)| *v).collect()) else { return };
        // Of two the median is halfway, so each may be half the tolerance off it.
        let allowed = if good.len() == 2 { self.tolerance.get() / 2.0 } else { self.tolerance.get() };
        let off: BTreeMap<Name, Timestamp> = good
            .iter()
            .filter(|(_, v)| (v.get() - middle.get()).abs() > allowed)
            .map(|(name, _)| {
                let since = self.off_since.get(name).copied().unwrap_or(now).min(now);
                (name.clone(), since)
            })
            .collect();
        self.off_since = off;
        let disagrees = |name: &Name| {
            self.off_since.get(name).is_some_and(|since| now.duration_since(*since) >= self.patience)
        };
        let left_out: Vec<&Name> = good.iter().map(|(name, _)| name).filter(|n| disagrees(n)).collect();
        let all = good.len() - left_out.len() < 2;
        for (name, _) in &good {
            if (all || left_out.contains(&name))
                && let Some(sample) = signals.get_mut(name)
            {
                sample.quality = Quality::Suspect;
                sample.doubt = Some(Doubt::Disagrees);
            }
        }
    }
}

fn median(mut values: Vec<Finite>) -> Option<Finite> {
    values.sort_unstable();
    let upper = values.get(values.len() / 2)?.get();
    let lower = values.get(values.len().checked_sub(1)? / 2)?.get();
    Some(Finite::saturating(lower / 2.0 + upper / 2.0))
}
