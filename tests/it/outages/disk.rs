//! A disk that is full.

use std::time::Duration;

use crate::agent::{Rig, honest};

/// What cannot be recorded is not done: a full disk stops decisions and releases the plant, and a disk with
/// room again begins a new run.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    full_disk(|t| t).await;
}

/// Nothing is written between two decisions: what fails is the log alone.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_done_without_a_heartbeat_either() {
    let heartbeat = "heartbeat = { device = \"plc\", address = 1, type = \"uint16\" }";
    full_disk(|t| t.replace(heartbeat, "")).await;
}

async fn full_disk(site: impl Fn(String) -> String) {
    let mount = tempfile::tempdir().unwrap();
    let path = mount.path().to_str().unwrap().to_owned();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=600k", "tmpfs", &path]).status();
    if !mounted.is_ok_and(|s| s.success()) {
        return crate::peers::lacks("what_cannot_be_recorded", "needs the right to mount a small tmpfs");
    }
    let _unmount = Unmount(path.clone());
    let edit = |t: String| site(t).replace("path = \"audit.db\"", &format!("path = \"{path}/audit.db\""));
    let Some(mut rig) = Rig::start("full disk", edit).await else { return };
    rig.frames(2).await;
    let ballast = mount.path().join("ballast");
    std::fs::write(&ballast, vec![1u8; 8 * 1024]).ok();
    for size in [400, 200, 100, 50, 20, 10, 5, 1] {
        // Whatever still fits.
        let file = mount.path().join(format!("ballast-{size}"));
        std::fs::write(file, vec![1u8; size * 1024]).ok();
    }
    rig.model.now_says(honest(7.5, "Raise"));
    for _ in 0..12 {
        rig.frame_unanswered(22.0).await;
    }
    let released = async {
        while rig.register(0).await == 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    crate::peers::soon("released", released).await;
    assert!(rig.log().contains("the plant is released until it can"), "{}", rig.log());
    for entry in std::fs::read_dir(mount.path()).unwrap() {
        let file = entry.unwrap().path();
        if file.file_name().unwrap().to_str().unwrap().starts_with("ballast") {
            std::fs::remove_file(file).unwrap();
        }
    }
    rig.listen_again().await;
    rig.frames(3).await;
    assert_eq!(rig.register(0).await, 1, "in charge again");
}

struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        std::process::Command::new("umount").args(["-l", &self.0]).status().ok();
    }
}
