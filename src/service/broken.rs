//! The control loop broke: what is left to do.

use serde_json::value::RawValue;

use crate::actuate::Writer;
use crate::audit::{Kind, Store};
use crate::clock;
use crate::control::Body;
use crate::control::record::{Event, EventRecord};
use crate::envelope::Guard;
use crate::ingest::modbus::Bus;
use crate::site::Site;

/// Hands the plant back with connections of its own: those of the broken loop are gone.
pub(super) async fn release(site: &Site, why: &str) {
    let action = Guard::new(site).release();
    let action_shown = serde_json::to_value(&action).ok().map(Box::new);
    let event = EventRecord { action: action_shown, ..EventRecord::new(Event::Broken, why) };
    let body = Body::Event(event);
    let recorded = Store::open(&site.audit, clock::now()).and_then(|mut store| {
        if let Ok(raw) = RawValue::from_string(body.to_json()) {
            store.append(clock::now(), Kind::Event, &raw)?;
        }
        store.close()
    });
    if let Err(error) = recorded {
        tracing::error!(%error, "the release is not in the audit log");
    }
    let outcome = Writer::new(Bus::open(site), site).apply(&action).await;
    if outcome.release_needed {
        tracing::error!(trouble = %outcome.trouble(), "not released; the plant's watchdog on the heartbeat takes over");
    } else {
        tracing::warn!("released");
    }
}
