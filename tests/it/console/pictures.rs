//! Pictures of every view, of a simulated plant that is being run: to be looked at. They are written to
//! `console/` in Cargo's folder for tests, `target/tmp`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::browser::Browser;
use super::{Client, console_in};
use crate::peers::soon;

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_every_view_are_written() {
    let Some(browser) = Browser::start("console pictures").await else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(dir.path().join("stderr.txt")).unwrap();
    let _demo = tokio::process::Command::new(env!("CARGO_BIN_EXE_isotherm"))
        .args(["demo", "--plant", "air", "--controller", "mpc", "--hours", "1000", "--listen", "127.0.0.1:0"])
        .args(["--speed", "900", "--dir"])
        .arg(dir.path())
        .env("NO_COLOR", "1")
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(dir.path().join("stderr.txt")).unwrap();
    let base = soon("the demo's console", async {
        loop {
            if let Some(address) = console_in(&said()) {
                return address;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&out).unwrap();
    // Enough of the past for something to be seen; a debug build takes its time.
    let client = Client::new(&base);
    let lived = tokio::time::timeout(Duration::from_mins(4), async {
        while client.json("/api/state").await.1["stats"]["decisions"].as_u64().unwrap_or(0) < 24 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    lived.await.unwrap_or_else(|_| panic!("two hours of the plant take longer: {}", said()));
    for (view, path, says) in [
        ("now", "/", "Margins to limits"),
        ("trends", "/trends?span=7200", "In this window"),
        ("decisions", "/decisions", "by controller"),
        ("act", "/act", "Manual override"),
        ("replay", "/replay", "as recorded at"),
        ("reports", "/reports", "Stability and violations"),
    ] {
        for (look, theme, width, height) in [
            ("desktop-light", "light", 1440, 1180),
            ("desktop-dark", "dark", 1440, 1180),
            ("phone", "light", 390, 1600),
        ] {
            browser.look(theme, width, height).await;
            browser.open(&format!("{base}{path}")).await;
            browser.reads(says).await;
            browser.reads("SIMULATED PLANT").await;
            // What is drawn is drawn with the next frames.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let file = out.join(format!("{view}-{look}.png"));
            browser.screenshot(&file).await;
            assert!(std::fs::metadata(&file).unwrap().len() > 20_000, "{} is blank", file.display());
        }
    }
    assert_eq!(browser.errors().await, [""; 0]);
    browser.close().await;
}
