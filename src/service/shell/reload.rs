//! The site file read anew while the plant is held.

use std::path::Path;
use std::sync::Arc;

use super::Shell;
use crate::control::Input;
use crate::site::{self, Site};
use crate::upgrade::{Kept, Origin};

impl Shell {
    /// Takes over the limits of the site file as it is now: all of them or, if the file does not pass or
    /// changes anything else, none. Either way it is in the log.
    pub(in crate::service) async fn on_reload(&mut self, path: &Path) {
        let (detail, site) = match read(path, &self.setup.site, &self.kept) {
            Ok((detail, site)) => {
                tracing::info!(%detail, "the site's limits change");
                (detail, Some(Box::new(site)))
            }
            Err(why) => {
                tracing::error!(%why, "the site file is not taken over; what was in force stays");
                (why, None)
            }
        };
        self.step(self.control_time(), Input::Reload { detail, site }).await;
        self.follow_setup();
        self.publish_view();
    }

    /// What the controller goes by, here and on the console. It is what it was where a change could not be
    /// recorded.
    pub(super) fn follow_setup(&mut self) {
        if Arc::ptr_eq(&self.setup, self.controller.setup()) {
            return;
        }
        self.setup = self.controller.setup().clone();
        self.assembler.go_by(&self.setup.site);
        self.in_force.send_replace(self.setup.clone());
        self.setup_revision += 1;
    }
}

/// What changes, and the site with it; or why nothing does.
fn read(path: &Path, running: &Site, kept: &Kept) -> Result<(String, Site), String> {
    let mut read = site::load(path).map_err(|e| e.to_string())?;
    // An accepted upgrade stands for what the file says of the model, for as long as it says the same.
    if let Some(lineage) = kept.lineage.as_ref().filter(|_| Origin::of(&read) == kept.origin) {
        read = lineage.in_force.applied_to(&read);
    }
    let found = site::reload::difference(running, &read);
    if !found.others.is_empty() {
        return Err(format!("needs a restart: {}", found.others.join("; ")));
    }
    let mode = (read.mode != running.mode).then(|| {
        format!("mode: {} in the file is for the next start; now an operator changes it", read.mode.as_str())
    });
    if found.limits.is_empty() {
        let same = "the limits are as they were".to_owned();
        return Err([same].into_iter().chain(mode).collect::<Vec<_>>().join("; "));
    }
    let told = found.limits.into_iter().chain(mode).collect::<Vec<_>>();
    Ok((told.join("; "), Site { mode: running.mode, ..read }))
}
