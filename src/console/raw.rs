//! Every frame of a short window, out of the log: what the tape has only as extremes and means by then.

use std::ops::Range;
use std::sync::PoisonError;

use jiff::Timestamp;

use super::Shared;
use super::columns::{Columns, Row};
use super::tape::Tape;
use crate::audit::{AuditError, Kind, Log};

/// More frames than this are not read for one chart: 3 days at 15 s. The tape has their extremes.
const MOST: i64 = 20_000;

/// Whether a window is short enough for its frames, and the tape too coarse for so many points.
pub(super) fn is_wanted(tape: &Tape, window: &Range<i64>, points: usize, sample_s: i64) -> bool {
    let (seconds, sample) = (window.end - window.start, sample_s.max(1));
    let by_tape = tape.finest(window.start).unwrap_or(i64::MAX);
    // What is drawn coarser than the tape needs nothing finer.
    seconds > 0 && seconds / sample <= MOST && by_tape > sample && by_tape > seconds / points as i64
}

/// `None` where the log has less of the window than the tape: its older records are archived, or it cannot be read.
pub(super) async fn tape(shared: &Shared, window: Range<i64>) -> Option<Tape> {
    // One long look at the log at a time.
    let turn = shared.reading.clone().acquire_owned().await.ok()?;
    let (followed, audit) = (shared.followed.clone(), shared.audit.clone());
    let read = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let rows = frames(&Log::open(&audit)?, &followed.columns, &window)?;
        let known = followed.tape.read().unwrap_or_else(PoisonError::into_inner).first(&window);
        let reaches = match (rows.first(), known) {
            (Some(row), Some((begin, width))) => row.t < (begin + width) as f64,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let mut tape = Tape::raw();
        for row in &rows {
            tape.push(row);
        }
        Ok::<_, AuditError>(reaches.then_some(tape))
    });
    match read.await {
        Ok(Ok(tape)) => tape,
        Ok(Err(error)) => {
            tracing::warn!(%error, "trends cannot read the audit log");
            None
        }
        Err(_) => None,
    }
}

/// Oldest first.
fn frames(log: &Log, columns: &Columns, window: &Range<i64>) -> Result<Vec<Row>, AuditError> {
    let Ok(end) = Timestamp::from_second(window.end.saturating_add(1)) else { return Ok(Vec::new()) };
    let (mut rows, mut all) = (Vec::new(), true);
    log.back(&[Kind::Frame], Some(log.seq_at(end)?), |record| {
        if record.time.as_second() < window.start {
            return false;
        }
        // A clock that was set back may put more into the window than it has room for.
        all = rows.len() < 2 * MOST as usize;
        rows.extend(columns.read(&record.body));
        all
    })?;
    rows.reverse();
    Ok(if all { rows } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::super::tape::HOUR;
    use super::*;

    #[test]
    fn the_log_is_read_where_the_tape_is_too_coarse_for_what_is_asked() {
        let mut tape = Tape::new();
        let end = 20 * 24 * HOUR;
        for t in (0..end).step_by(15) {
            tape.push(&Row { t: t as f64, v: vec![Some(1.0)] });
        }
        let wanted = |from, hours, sample| is_wanted(&tape, &(from..from + hours * HOUR), 1000, sample);
        assert!(!wanted(end - HOUR, 1, 15), "the last 12 hours are at 10 s");
        assert!(wanted(end - HOUR, 1, 5), "of a site that samples every 5 s they are not all");
        assert!(wanted(HOUR, 1, 15), "at the beginning there are 10 min a bucket");
        assert!(wanted(HOUR, 24, 15), "1000 points of a day want 86 s");
        assert!(!wanted(HOUR, 24 * 10, 15), "1000 points of ten days do not");
        assert!(!wanted(end - 2 * 24 * HOUR, 24, 15), "nor do those of a day at 60 s");
        assert!(!wanted(HOUR, 24, 1), "more frames than are read at once");
    }
}
