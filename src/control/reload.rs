//! Limits that change while the plant is held.

use std::sync::Arc;

use super::record::{Body, Event, EventRecord};
use super::{Controller, Effects, Setup};
use crate::decision;
use crate::envelope::Guard;
use crate::site::Site;

impl Controller {
    /// From the next frame on everything goes by the new limits; a setpoint that they do not allow is moved
    /// then. Charge, mode, twin, history and what the guard remembers stay.
    pub(super) fn on_reload(&mut self, detail: String, site: Option<Box<Site>>, fx: &mut Effects<'_>) {
        let event = if site.is_some() { Event::Reload } else { Event::ReloadRefused };
        fx.record(Body::Event(EventRecord { site_config: site.clone(), ..EventRecord::new(event, detail) }));
        let Some(site) = site else { return };
        self.guard = Guard::new(&site);
        self.fallback.go_by(&site);
        self.policy.iter_mut().for_each(|p| p.go_by(&site));
        // What was asked, or waits for an answer, was made under the old limits.
        self.pending = None;
        self.drop_advice("the limits changed", fx);
        self.forget_candidate_question();
        let schema = decision::schema(&site);
        self.setup = Arc::new(Setup { site: *site, prompts: self.setup.prompts.clone(), schema });
    }

    #[must_use]
    pub fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }
}
