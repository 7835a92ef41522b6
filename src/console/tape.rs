//! The recent past of every value, at several resolutions, with extremes kept: what the trends are drawn
//! from. It is made from the audit log alone, so it can be made again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;

use super::columns::Row;

/// In seconds.
pub(super) const HOUR: i64 = 3600;
/// Width of a bucket in seconds, finest first, and how many are kept: 12 h, 3 days, 30 days, a year. For 60
/// values that is 21 MB. Reports take their baseline from the hours.
const TIERS: [(i64, usize); 4] = [(10, 4320), (60, 4320), (600, 4320), (HOUR, 8760)];

/// What a value was over one bucket of time.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Cell {
    min: f32,
    max: f32,
    sum: f32,
    count: u32,
}

impl Cell {
    const NONE: Self = Self { min: f32::INFINITY, max: f32::NEG_INFINITY, sum: 0.0, count: 0 };

    fn one(v: f32) -> Self {
        Self { min: v, max: v, sum: v, count: 1 }
    }

    fn add(&mut self, other: Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count += other.count;
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    start: i64,
    cells: Box<[Cell]>,
}

impl Bucket {
    /// Of the good values in a column; `None` without any.
    pub(super) fn mean(&self, place: usize) -> Option<f64> {
        let cell = self.cells.get(place).filter(|c| c.count > 0)?;
        Some(f64::from(cell.sum) / f64::from(cell.count))
    }

    /// Good values in a column.
    pub(super) fn count(&self, place: usize) -> u32 {
        self.cells.get(place).map_or(0, |c| c.count)
    }
}

#[derive(Debug)]
struct Tier {
    width: i64,
    keep: usize,
    buckets: VecDeque<Bucket>,
    /// Older ones were forgotten.
    dropped: bool,
}

impl Tier {
    fn push(&mut self, at: i64, row: &[Option<f32>]) {
        let start = at - at.rem_euclid(self.width);
        if self.buckets.back().is_none_or(|b| b.start < start) {
            let cells = vec![Cell::NONE; row.len()].into_boxed_slice();
            self.buckets.push_back(Bucket { start, cells });
            if self.buckets.len() > self.keep {
                self.buckets.pop_front();
                self.dropped = true;
            }
        }
        // What comes after a clock was set back has no place of its own here.
        let Some(bucket) = self.buckets.back_mut().filter(|b| b.start == start) else { return };
        for (cell, v) in bucket.cells.iter_mut().zip(row) {
            if let Some(v) = v {
                cell.add(Cell::one(*v));
            }
        }
    }

    fn reaches(&self, from: i64) -> bool {
        !self.dropped || self.buckets.front().is_some_and(|b| b.start <= from)
    }
}

#[derive(Debug)]
pub(super) struct Tape {
    tiers: Vec<Tier>,
}

/// Some columns over some time. `t` is the beginning of each bucket in seconds since 1970; a gap in the data
/// is a bucket of nulls.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub(super) struct Course {
    pub(super) bucket_s: i64,
    pub(super) t: Vec<i64>,
    pub(super) series: BTreeMap<String, Lines>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema)]
pub(super) struct Lines {
    pub(super) min: Vec<Option<f32>>,
    pub(super) max: Vec<Option<f32>>,
    pub(super) mean: Vec<Option<f32>>,
}

impl Tape {
    pub(super) fn new() -> Self {
        let tier = |(width, keep)| Tier { width, keep, buckets: VecDeque::new(), dropped: false };
        Self { tiers: TIERS.map(tier).into() }
    }

    /// Of hours alone.
    pub(super) fn of_hours() -> Self {
        Self::of_tier(HOUR)
    }

    /// Of single seconds: every frame of a site that has at most one in each.
    pub(super) fn raw() -> Self {
        Self::of_tier(1)
    }

    fn of_tier(width: i64) -> Self {
        Self { tiers: vec![Tier { width, keep: usize::MAX, buckets: VecDeque::new(), dropped: false }] }
    }

    /// Width in seconds of the finest buckets that reach back so far.
    pub(super) fn finest(&self, from: i64) -> Option<i64> {
        self.tiers.iter().find(|t| t.reaches(from)).map(|t| t.width)
    }

    /// Beginning and width of the first bucket of a window.
    pub(super) fn first(&self, window: &Range<i64>) -> Option<(i64, i64)> {
        let tier = self.tiers.iter().find(|t| t.reaches(window.start)).or(self.tiers.last())?;
        let first = tier.buckets.iter().find(|b| b.start + tier.width > window.start)?;
        (first.start < window.end).then_some((first.start, tier.width))
    }

    pub(super) fn push(&mut self, row: &Row) {
        for tier in &mut self.tiers {
            tier.push(row.t as i64, &row.v);
        }
    }

    /// Beginning of the oldest bucket and of the newest, in seconds.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let oldest = self.tiers.iter().filter_map(|t| t.buckets.front()).map(|b| b.start).min()?;
        let newest = self.tiers.iter().filter_map(|t| t.buckets.back()).map(|b| b.start).max()?;
        Some((oldest, newest))
    }

    /// The hours of UTC that begin from one time on and before another; those without a frame are not there.
    pub(super) fn hours(&self, from: i64, to: i64) -> impl Iterator<Item = &Bucket> {
        let tier = self.tiers.iter().find(|t| t.width == HOUR);
        tier.into_iter().flat_map(|t| &t.buckets).filter(move |b| (from..to).contains(&b.start))
    }

    /// At most about `points` buckets between two times, from the finest data that reaches back so far.
    /// `sample_s`: a gap longer than some of these is shown as one.
    pub(super) fn course(
        &self,
        columns: &[(String, usize)],
        from: i64,
        to: i64,
        points: usize,
        sample_s: i64,
    ) -> Course {
        let Some(tier) = self.tiers.iter().find(|t| t.reaches(from)).or(self.tiers.last()) else {
            return Course { bucket_s: 1, t: Vec::new(), series: BTreeMap::new() };
        };
        let within = |b: &&Bucket| b.start + tier.width > from && b.start <= to;
        let buckets = ((to - from) / tier.width).max(1);
        // Where there is room for each that there is, none has to be merged with another.
        let all_fit = tier.buckets.iter().filter(within).count() <= points;
        let merged = if all_fit { 1 } else { (buckets + points as i64 - 1) / (points.max(1) as i64) };
        let width = tier.width * merged.max(1);
        let mut t = Vec::new();
        let mut lines = vec![Lines::default(); columns.len()];
        let mut cells = vec![Cell::NONE; columns.len()];
        let mut open: Option<i64> = None;
        let gap = (3 * sample_s).max(2 * width);
        for bucket in tier.buckets.iter().filter(within) {
            let start = bucket.start - bucket.start.rem_euclid(width);
            if open != Some(start) {
                if let Some(begun) = open {
                    close(begun, &mut t, &mut lines, &mut cells);
                    if start - begun > gap {
                        close(begun + width, &mut t, &mut lines, &mut cells);
                    }
                }
                open = Some(start);
            }
            for (cell, (_, place)) in cells.iter_mut().zip(columns) {
                if let Some(other) = bucket.cells.get(*place) {
                    cell.add(*other);
                }
            }
        }
        if let Some(begun) = open {
            close(begun, &mut t, &mut lines, &mut cells);
        }
        let series = columns.iter().map(|(name, _)| name.clone()).zip(lines).collect();
        Course { bucket_s: width, t, series }
    }
}

/// Writes down the bucket that began at `start`, and empties the cells for the next.
fn close(start: i64, t: &mut Vec<i64>, lines: &mut [Lines], cells: &mut [Cell]) {
    t.push(start);
    for (line, cell) in lines.iter_mut().zip(cells) {
        let some = |v: f32| (cell.count > 0).then_some((v * 1e3).round() / 1e3);
        line.min.push(some(cell.min));
        line.max.push(some(cell.max));
        line.mean.push(some(cell.sum / cell.count as f32));
        *cell = Cell::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(t: i64, v: f32) -> Row {
        Row { t: t as f64, v: vec![Some(v)] }
    }

    fn course(tape: &Tape, from: i64, to: i64, points: usize) -> Course {
        tape.course(&[("a".to_owned(), 0)], from, to, points, 15)
    }

    /// One short peak in a day is still there when the day is drawn with few points.
    #[test]
    fn extremes_survive_any_zoom() {
        let mut tape = Tape::new();
        for i in 0..4 * 60 * 24 * 40 {
            let peak = if i == 4 * 60 * 24 * 39 { 99.0 } else { 20.0 };
            tape.push(&row(i * 15, peak));
        }
        let day = 86_400;
        for (from, points) in [(39 * day - 3600, 2000), (38 * day, 100), (20 * day, 300), (0, 50)] {
            let c = course(&tape, from, 40 * day, points);
            let line = &c.series["a"];
            assert!(c.t.len() <= points + 2, "{} points of {points}", c.t.len());
            assert!(c.t[0] <= from + c.bucket_s, "starts at {} instead of {from}", c.t[0]);
            assert!(line.max.contains(&Some(99.0)), "from {from}");
            assert!(line.min.contains(&Some(20.0)), "from {from}");
        }
    }

    #[test]
    fn a_gap_is_shown_and_a_clock_set_back_changes_nothing() {
        let mut tape = Tape::new();
        for t in [0, 15, 30, 600, 615, 300] {
            tape.push(&row(t, t as f32));
        }
        let c = course(&tape, 0, 700, 1000);
        let mean = &c.series["a"].mean;
        assert_eq!(c.t, [0, 10, 30, 40, 600, 610]);
        assert_eq!(*mean, [Some(0.0), Some(15.0), Some(30.0), None, Some(600.0), Some(615.0)]);
    }
}
