//! What those who run the service have set.

use std::path::{Component, Path};

use super::check::Checker;
use super::console::is_address;
use super::paths::paths;
use crate::site::Site;

/// The console's reports and its baseline look back so far.
const LEAST_KEPT_DAYS: u32 = 35;
/// A baseline takes 48 hours without the agent.
const LEAST_BASELINE_DAYS: u32 = 2;
const MOST_BASELINE_DAYS: u32 = 366;

impl Checker {
    pub(super) fn operations(&mut self, site: &Site) {
        self.paths(site);
        self.baseline(site);
        let audit = &site.audit;
        if audit.archive.is_some() != audit.keep_days.is_some() {
            self.top(
                "audit.keep_days",
                "expected archive and keep_days together: what leaves the log goes there",
            );
        }
        if audit.keep_days.is_some_and(|days| days < LEAST_KEPT_DAYS) {
            self.top(
                "audit.keep_days",
                format!("expected at least {LEAST_KEPT_DAYS}: the console's reports look back a month"),
            );
        }
        if cfg!(not(feature = "parquet")) && audit.archive.is_some() {
            self.top("audit.archive", "this program was built without Parquet");
        }
        if site.telemetry.otlp.as_ref().is_some_and(|url| !is_http(url)) {
            self.top("telemetry.otlp", "expected a URL such as \"http://127.0.0.1:4318\"");
        }
        if let Some(listen) = &site.telemetry.listen {
            if !is_address(listen) {
                let why = "expected an address and a port such as \"127.0.0.1:9455\"";
                self.top("telemetry.listen", format!("{why}, got {listen:?}"));
            } else if *listen == site.console.listen && !listen.ends_with(":0") {
                self.top(
                    "telemetry.listen",
                    "is console.listen too, where these pages are anyway: expected an address of its own",
                );
            }
        }
    }
    fn baseline(&mut self, site: &Site) {
        let baseline = &site.report.baseline;
        if !(LEAST_BASELINE_DAYS..=MOST_BASELINE_DAYS).contains(&baseline.days) {
            self.top(
                "report.baseline.days",
                format!("expected {LEAST_BASELINE_DAYS} to {MOST_BASELINE_DAYS}, got {}", baseline.days),
            );
        }
        match (baseline.from, baseline.to) {
            (None, None) => {}
            (Some(from), Some(to)) if from <= to => {
                let days = from.duration_until(to).as_hours() / 24 + 1;
                if !(i64::from(LEAST_BASELINE_DAYS)..=i64::from(MOST_BASELINE_DAYS)).contains(&days) {
                    self.top(
                        "report.baseline.to",
                        format!(
                            "expected {LEAST_BASELINE_DAYS} to {MOST_BASELINE_DAYS} days from {from}, got {days}"
                        ),
                    );
                }
            }
            (Some(from), Some(to)) => {
                self.top("report.baseline.to", format!("{to} is before {from}"));
            }
            _ => {
                self.top("report.baseline.from", "expected from and to together: the first day and the last");
            }
        }
    }

    /// Paths that are there, and a log that is a file of its own.
    fn paths(&mut self, site: &Site) {
        for (key, path) in paths(&mut site.clone()) {
            if path.as_os_str().is_empty() {
                self.top(key, "expected a path, got \"\"");
            }
        }
        let audit = &site.audit;
        // SQLite would keep such a log in memory.
        if audit.path.to_str().is_some_and(|p| p.starts_with(':')) {
            self.top("audit.path", "expected the path of a file on disk");
        }
        let taken =
            [("audit.key", Some(&audit.key)), ("audit.checkpoint_file", audit.checkpoint_file.as_ref())];
        for (key, path) in taken {
            if path.is_some_and(|p| is_same(p, &audit.path)) {
                self.top(key, "is audit.path too: expected a file of its own");
            }
        }
    }
}

pub(super) fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// The same file however it is written, as far as can be told without looking.
fn is_same(a: &Path, b: &Path) -> bool {
    let plain = |p: &Path| {
        p.components()
            .filter(|c| *c != Component::CurDir)
            .map(|c| c.as_os_str().to_owned())
            .collect::<Vec<_>>()
    };
    plain(a) == plain(b)
}
