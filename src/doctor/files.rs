//! The files that the agent reads and writes from its start on.

use std::path::Path;

use rustix::fs::{Access, access};

use super::{Finding, Level};
use crate::audit::{Log, signing_key_of};
use crate::durable::folder_of;
use crate::prompt::Prompts;
use crate::site::Site;

/// What would keep the agent from starting, or a checkpoint from leaving the machine; nothing where all is well.
pub(super) fn examine(site: &Site) -> Vec<Finding> {
    let (audit, console) = (&site.audit, &site.console);
    let log = || {
        // Where there is none yet, its folder is what counts.
        if !audit.path.exists() {
            return writable(&audit.path);
        }
        Log::open(&audit.path).and_then(|log| log.identity()).map_err(|e| e.to_string())?;
        signing_key_of(&audit.key).map_err(|e| e.to_string())?;
        access(&audit.path, Access::WRITE_OK).map_err(|e| format!("{}: {e}", audit.path.display()))?;
        writable(&audit.path)
    };
    let prompts = || Prompts::load(site.model.prompts.as_deref()).map(drop).map_err(|e| e.to_string());
    let tls = || {
        let mut files = console.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]);
        files.try_for_each(|path| readable(path))
    };
    let checkpoints = || audit.checkpoint_file.as_deref().map_or(Ok(()), writable);
    let all: [(&'static str, Result<(), String>, &str); 4] = [
        ("audit log", log(), "the agent will not start: it does nothing that it cannot record"),
        (
            "prompts",
            prompts(),
            "the agent will not start: mend model.prompts, or leave it out for the built-in ones",
        ),
        ("console", tls(), "the agent will not start: mend the files of console.tls"),
        (
            "checkpoints",
            checkpoints(),
            "signed checkpoints will not get there, and without them a log that was cut short looks whole: mend audit.checkpoint_file",
        ),
    ];
    let failed = |(topic, found, means): (&'static str, Result<(), String>, &str)| {
        Some(Finding::new(topic, Level::Fail, found.err()?, means))
    };
    all.into_iter().filter_map(failed).collect()
}

fn readable(path: &Path) -> Result<(), String> {
    access(path, Access::READ_OK).map_err(|e| format!("{}: {e}", path.display()))
}

/// Whether files can be made beside it.
fn writable(path: &Path) -> Result<(), String> {
    let folder = folder_of(path);
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|e| format!("folder {}: {e}", folder.display()))
}
