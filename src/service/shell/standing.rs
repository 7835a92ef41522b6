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
    /// What an earlier run left; why not, where there is something and it cannot be read. A simulated plant begins anew
    /// each time.
    pub(super) fn read_standing(&self) -> Result<Option<Standing>, String> {
        let site = &self.setup.site;
        if self.simulated {
            return Ok(None);
        }
        let why = match read(site) {
            Ok(standing) => return Ok(Some(standing)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => error,
        };
        let path = path_of(site);
        // The next one takes its name.
        let aside = path.with_extension("json.unreadable");
        let kept = match std::fs::rename(&path, &aside) {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("it could not be put aside: {error}"),
        };
        Err(format!(
            "{}, what was standing before the restart, cannot be read: {why}; overrides and directives are gone; {kept}",
            path.display()
        ))
    }

    /// After whatever may have changed it, once that is in the log.
    pub(super) fn keep_standing(&mut self) {
        let standing = self.controller.standing().with_jobs(self.assembler.announced());
        if self.standing.as_ref() != Some(&standing) {
            self.standing_kept = false;
        }
        if !self.standing_kept && !self.simulated {
            match durable::write(&path_of(&self.setup.site), &standing) {
                Ok(()) => self.standing_kept = true,
                // Tried again with the next input.
                Err(error) => {
                    tracing::error!(%error, "mode, overrides and directives are not kept yet: a restart would not know of them");
                }
            }
        }
        self.standing = Some(standing);
    }
}
