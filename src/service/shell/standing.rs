//! The file in which the controller's standing outlives a restart.

use std::io;
use std::path::PathBuf;

use super::Shell;
use crate::control::{Alarm, Standing};
use crate::durable;
use crate::site::{Mode, Site};

/// Beside the audit log.
fn path_of(site: &Site) -> PathBuf {
    site.audit.path.with_extension("standing.json")
}

fn read(site: &Site) -> io::Result<Standing> {
    Ok(serde_json::from_slice(&std::fs::read(path_of(site))?)?)
}

/// The mode in which a run was when it last kept what stands; the site file's before that.
pub(in crate::service) fn mode(site: &Site) -> Mode {
    read(site).map_or(site.mode, |standing| standing.mode())
}

/// For the next run to show: the controller that would have raised it is gone.
pub(in crate::service) fn raise(site: &Site, alarm: Alarm) -> io::Result<()> {
    let mut standing = read(site)?;
    standing.raise(alarm);
    durable::write(&path_of(site), &standing)
}

impl Shell {
    /// What an earlier run left. A simulated plant begins anew each time.
    pub(super) fn read_standing(&self) -> Option<Standing> {
        if self.simulated {
            return None;
        }
        let site = &self.setup.site;
        match read(site) {
            Ok(standing) => Some(standing),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = path_of(site);
                tracing::error!(path = %path.display(), %error, "what was standing before the restart cannot be read; the site file's mode decides, and overrides and directives are gone");
                None
            }
        }
    }

    /// After whatever may have changed it.
    pub(super) fn keep_standing(&mut self) {
        let standing = self.controller.standing();
        if self.simulated || self.standing.as_ref() == Some(&standing) {
            return;
        }
        match durable::write(&path_of(&self.setup.site), &standing) {
            Ok(()) => self.standing = Some(standing),
            // Tried again with the next input.
            Err(error) => {
                tracing::error!(%error, "mode, overrides and directives are not kept yet: a restart would not know of them");
            }
        }
    }
}
