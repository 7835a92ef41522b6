//! Small files that are whole or not there, whatever happens while they are written.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// As JSON, on the disk when this returns.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = std::fs::File::create(&new)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(folder_of(path))?.sync_all()
}
