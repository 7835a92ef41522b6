//! The control loop broke: what is left to do.

use super::shell::standing;
use crate::actuate::Writer;
use crate::audit::{Kind, Store};
use crate::clock;
use crate::control::record::{Event, EventRecord};
use crate::control::{Alarm, Body};
use crate::envelope::Guard;
use crate::ingest::modbus::Bus;
use crate::site::{Mode, Site};

/// Hands the plant back with connections of its own: those of the broken loop are gone. `simulated`: nothing outlives the
/// run.
pub(super) async fn release(site: &Site, why: &str, simulated: bool) {
    let now = clock::now();
    // In shadow there is no write path, and the plant may be another agent's.
    let action = (standing::mode(site) != Mode::Shadow).then(|| Guard::new(site).release());
    let action_shown = action.as_ref().and_then(|a| serde_json::to_value(a).ok()).map(Box::new);
    let event = EventRecord { action: action_shown, ..EventRecord::new(Event::Broken, why) };
    let body = Body::Event(event);
    let recorded = Store::open(&site.audit, now).and_then(|mut store| {
        let appended = store.append(now, Kind::Event, &body.to_json())?;
        store.close().map(|_| appended.seq)
    });
    match recorded {
        Ok(seq) if !simulated => {
            let alarm = Alarm { seq, time: now, event: Event::Broken, detail: why.to_owned() };
            if let Err(error) = standing::raise(site, alarm) {
                tracing::error!(%error, "the next run will not show this as an alarm");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the release is not in the audit log"),
    }
    let Some(action) = action else { return };
    let outcome = Writer::new(Bus::open(site), site).apply(&action).await;
    if outcome.release_needed {
        tracing::error!(trouble = %outcome.trouble(), "not released; the plant's watchdog on the heartbeat takes over");
    } else {
        tracing::warn!("released");
    }
}
