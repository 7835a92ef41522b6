//! Adaptive resolution: which stretches of the past are told in one row, and which in several.

use jiff::Timestamp;

use super::series::{Bucket, Series};
use super::trend::dead_zone;
use crate::units::{Finite, Unit};

/// One stretch of the past. Stretches begin at round times of the day, so a row stays the same text for
/// as long as it is told.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    pub from: Timestamp,
    pub minutes: u32,
    /// In the order of the columns asked for; `None` where nothing good was received.
    pub cells: Vec<Option<Cell>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    pub mean: Finite,
    pub min: Finite,
    pub max: Finite,
    pub unit: Unit,
}

impl Cell {
    /// A peak that the mean does not tell of: the extreme, where it is far from it.
    #[must_use]
    pub fn peak(&self) -> Option<Finite> {
        let zone = dead_zone(self.unit, self.mean.get());
        let up = self.max.get() - self.mean.get();
        let down = self.mean.get() - self.min.get();
        let (extreme, distance) = if up >= down { (self.max, up) } else { (self.min, down) };
        (distance > PEAK * zone).then_some(extreme)
    }
}

/// Dead zones from the mean at which an extreme is told.
const PEAK: f64 = 5.0;
/// Minutes of a row and of the rows it can be split into.
const WIDTHS: [u32; 4] = [60, 15, 5, 1];
/// Hours that the rows reach back.
const REACH_H: i64 = 6;
/// The last quarter of an hour is told in steps of at most 5 min, calm or not.
const RECENT_S: i64 = 900;
/// The age at which a movement counts half.
const HALF_LIFE_S: f64 = 1800.0;

struct Stretch {
    from: i64,
    width: usize,
    cells: Vec<Option<Bucket>>,
    /// How much a split would tell; 0 when there is nothing to split.
    worth: f64,
}

pub(super) fn choose(columns: &[&(Unit, Series)], now: i64, count: usize) -> Vec<Row> {
    let oldest = columns.iter().filter_map(|(_, s)| s.oldest()).min().unwrap_or(now);
    let hour = |t: i64| t.div_euclid(3600) * 3600;
    let first = hour(oldest.max(now - REACH_H * 3600));
    let hours = (0..=(now - first) / 3600).map(|h| first + h * 3600);
    let mut told: Vec<Stretch> = hours.filter_map(|from| Stretch::new(columns, now, from, 0)).collect();
    // Fewer rows than hours: the newest are what counts.
    told.drain(..told.len().saturating_sub(count));
    loop {
        let best = (0..told.len()).max_by(|&a, &b| told[a].worth.total_cmp(&told[b].worth));
        let Some(at) = best.filter(|&at| told[at].worth > 0.0) else { break };
        let Some(parts) = told[at].split(columns, now) else { break };
        if told.len() - 1 + parts.len() > count {
            break;
        }
        told.splice(at..=at, parts);
    }
    told.into_iter().filter_map(|s| s.row(columns)).collect()
}

impl Stretch {
    /// `None` when no column has anything in it.
    fn new(columns: &[&(Unit, Series)], now: i64, from: i64, width: usize) -> Option<Self> {
        let minutes = *WIDTHS.get(width)?;
        let to = from + i64::from(minutes) * 60;
        let cells: Vec<_> = columns.iter().map(|(_, s)| s.between(from, to)).collect();
        if cells.iter().all(Option::is_none) {
            return None;
        }
        let activity = columns
            .iter()
            .zip(&cells)
            .filter_map(|((unit, _), cell)| cell.map(|b| (b.max - b.min) / dead_zone(*unit, b.mean())))
            .fold(0.0, f64::max);
        let age = (now - to).max(0);
        let recent = age < RECENT_S && minutes > 5;
        let moved = if activity >= 1.0 { activity } else { 0.0 };
        let interest = moved + f64::from(u8::from(recent));
        let last = width + 1 == WIDTHS.len();
        let worth = if last { 0.0 } else { interest * 0.5f64.powf(age as f64 / HALF_LIFE_S) };
        Some(Self { from, width, cells, worth })
    }

    fn split(&self, columns: &[&(Unit, Series)], now: i64) -> Option<Vec<Self>> {
        let whole = i64::from(*WIDTHS.get(self.width)?) * 60;
        let part = i64::from(*WIDTHS.get(self.width + 1)?) * 60;
        let starts = (0..whole / part).map(|i| self.from + i * part);
        Some(starts.filter_map(|from| Self::new(columns, now, from, self.width + 1)).collect())
    }

    fn row(self, columns: &[&(Unit, Series)]) -> Option<Row> {
        let cells = columns.iter().zip(self.cells).map(|((unit, _), cell)| {
            let b = cell?;
            let shown = |v| Finite::new(v).map(|v| v.rounded(unit.decimals()));
            Some(Cell { mean: shown(b.mean())?, min: shown(b.min)?, max: shown(b.max)?, unit: *unit })
        });
        Some(Row {
            from: Timestamp::from_second(self.from).ok()?,
            minutes: *WIDTHS.get(self.width)?,
            cells: cells.collect(),
        })
    }
}
