//! Disks that are full, and folders that cannot be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use isotherm::audit::{AuditError, Options, Store, verify};

use super::{assert_verifies, at, closed_log, config, frame, put, records};
use crate::peers::lacks;

/// A file system of its own, gone when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None`, said loudly, where this user may not mount.
    fn new(dir: &Path, test: &str) -> Option<Self> {
        fs::create_dir(dir).unwrap();
        let tried = Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(dir).output();
        match tried {
            Ok(output) if output.status.success() => Some(Self(dir.to_owned())),
            Ok(output) => {
                lacks(test, &format!("mount: {}", String::from_utf8_lossy(&output.stderr).trim()));
                None
            }
            Err(e) => {
                lacks(test, &format!("mount: {e}"));
                None
            }
        }
    }

    fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_latches_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(&dir.path().join("disk"), "a_full_disk_latches_until_there_is_room") else {
        return;
    };
    let config = config(&mount.0);
    let mut store = Store::open(&config, at(0)).unwrap();
    let ballast = mount.0.join("ballast");
    fs::write(&ballast, vec![0; 200 << 10]).unwrap();

    let mut durable = 0;
    let failed = loop {
        let body = serde_json::value::to_raw_value(&"x".repeat(3000)).unwrap();
        let done = store.append(at(1), isotherm::audit::Kind::Frame, &body).and_then(|_| store.commit());
        match done {
            Ok(done) => durable = done.seq,
            Err(e) => break e,
        }
        assert!(durable < 1000, "512 kB cannot hold this");
    };
    assert!(matches!(failed, AuditError::Database { .. }), "{failed}");
    assert!(durable > 0);

    // Everything is refused now, also what would fit, and says why.
    let (kind, body) = frame(1);
    for _ in 0..3 {
        let refused = store.append(at(2), kind, &body).unwrap_err();
        assert!(matches!(refused, AuditError::Latched { .. }), "{refused}");
        assert!(refused.to_string().contains("full"), "{refused}");
        assert!(matches!(store.commit(), Err(AuditError::Latched { .. })));
    }

    fs::remove_file(&ballast).unwrap();
    assert!(matches!(store.append(at(2), kind, &body), Err(AuditError::Latched { .. })));
    store.reopen(at(3)).unwrap();
    assert_eq!(put(&mut store, frame(1)).seq, durable + 1);
    store.close().unwrap();
    assert_eq!(assert_verifies(&config.path).records, durable + 1);
}

#[test]
fn a_copy_on_a_read_only_disk_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(&dir.path().join("disk"), "a_copy_on_a_read_only_disk_is_verified") else {
        return;
    };
    let path = closed_log(dir.path(), 30);
    let copy = mount.0.join("odd name?#100%.db");
    fs::copy(&path, &copy).unwrap();
    mount.read_only();
    assert_eq!(assert_verifies(&copy).records, 30);
    assert_eq!(records(&copy), records(&path));
}

/// The newest records of a live log are in the file beside it; a copy of both has them.
#[test]
fn a_copy_of_a_live_log_with_its_wal_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut store = Store::open(&config, at(0)).unwrap();
    for step in 1..=9 {
        put(&mut store, frame(step));
    }
    let checkpoint = store.commit().unwrap().checkpoint.unwrap();
    let copies = tempfile::tempdir().unwrap();
    for name in ["audit.db", "audit.db-wal"] {
        fs::copy(dir.path().join(name), copies.path().join(name)).unwrap();
    }
    assert_eq!(assert_verifies(&copies.path().join("audit.db")).records, 9);
    // The file alone is an older state, or none at all; it must not pass for this one.
    let alone = dir.path().join("alone.db");
    fs::copy(&config.path, &alone).unwrap();
    let options = Options { against: vec![checkpoint], ..Options::default() };
    assert!(!verify(&alone, &options).unwrap().ok);
}
