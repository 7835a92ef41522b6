//! One signal's past, in buckets that keep the lowest and highest value beside the mean.

use std::collections::VecDeque;

/// Seconds of a fine and of a coarse bucket, and how many of each are kept: two hours at 15 s, a day at
/// 5 min.
pub(super) const FINE_S: i64 = 15;
const FINE_KEPT: usize = 480;
const COARSE_S: i64 = 300;
const COARSE_KEPT: usize = 288;

/// What a signal did in a stretch of time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bucket {
    /// Unix seconds at which it begins.
    pub(super) start: i64,
    count: u32,
    sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Bucket {
    fn new(start: i64, value: f64) -> Self {
        Self { start, count: 1, sum: value, min: value, max: value }
    }

    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / f64::from(self.count)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    fine: VecDeque<Bucket>,
    coarse: VecDeque<Bucket>,
    /// Unix seconds and value of the newest good sample.
    pub(super) last: Option<(i64, f64)>,
}

impl Series {
    pub(super) fn push(&mut self, at: i64, value: f64) {
        add(&mut self.fine, FINE_S, FINE_KEPT, at, value);
        add(&mut self.coarse, COARSE_S, COARSE_KEPT, at, value);
        self.last = Some((at, value));
    }

    /// Fine buckets that begin in `[from, to]`.
    pub(super) fn fine(&self, from: i64, to: i64) -> impl Iterator<Item = &Bucket> {
        let first = self.fine.partition_point(|b| b.start < from);
        self.fine.range(first..).take_while(move |b| b.start <= to)
    }

    /// All that is known of `[from, to)`, from the finest buckets that still cover it.
    pub(super) fn between(&self, from: i64, to: i64) -> Option<Bucket> {
        let fine_from = self.fine.front().map_or(i64::MAX, |b| b.start);
        let buckets = if fine_from <= from { &self.fine } else { &self.coarse };
        let first = buckets.partition_point(|b| b.start < from);
        let mut inside = buckets.range(first..).take_while(|b| b.start < to);
        let mut all = *inside.next()?;
        inside.for_each(|b| all.add(b));
        Some(all)
    }

    pub(super) fn oldest(&self) -> Option<i64> {
        self.coarse.front().map(|b| b.start)
    }
}

fn add(buckets: &mut VecDeque<Bucket>, width: i64, kept: usize, at: i64, value: f64) {
    let start = at.div_euclid(width) * width;
    match buckets.back_mut() {
        Some(last) if last.start == start => last.add(&Bucket::new(start, value)),
        _ => {
            if buckets.len() == kept {
                buckets.pop_front();
            }
            buckets.push_back(Bucket::new(start, value));
        }
    }
}
