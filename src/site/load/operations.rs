//! What those who run the service have set.

use super::check::Checker;
use crate::site::Site;

/// The console's reports and its baseline look back so far.
const LEAST_KEPT_DAYS: u32 = 35;

impl Checker<'_> {
    pub(super) fn operations(&mut self, site: &Site) {
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
        let is_http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if site.telemetry.otlp.as_ref().is_some_and(|url| !is_http(url)) {
            self.top("telemetry.otlp", "expected a URL such as \"http://127.0.0.1:4318\"");
        }
    }
}
