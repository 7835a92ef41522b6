//! The file in which the controller's standing outlives a restart.

use std::path::PathBuf;

use super::Shell;
use crate::control::Standing;
use crate::durable;

impl Shell {
    /// Beside the audit log.
    fn standing_path(&self) -> PathBuf {
        self.setup.site.audit.path.with_extension("standing.json")
    }

    /// What an earlier run left. A simulated plant begins anew each time.
    pub(super) fn read_standing(&self) -> Option<Standing> {
        if self.simulated {
            return None;
        }
        let path = self.standing_path();
        let read = std::fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        match read {
            Ok(standing) => Some(standing),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
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
        match durable::write(&self.standing_path(), &standing) {
            Ok(()) => self.standing = Some(standing),
            // Tried again with the next input.
            Err(error) => {
                tracing::error!(%error, "mode, overrides and directives are not kept yet: a restart would not know of them");
            }
        }
    }
}
