//! How the agent itself is set up: model, its memory, and the fallback behind it.

use jiff::SignedDuration;

use super::check::Checker;
use super::operations::is_http;
use super::spot::Spot;
use super::within::{HOUR, SECOND};
use crate::site::{Backend, Site};
use crate::units::Finite;

impl Checker {
    pub(super) fn model(&mut self, site: &Site) {
        let m = &site.model;
        if m.backend == Backend::Openai && (m.url.is_none() || m.name.is_none()) {
            self.top("model.url", "backend \"openai\" needs url (up to /v1) and name");
        }
        if m.url.as_ref().is_some_and(|url| !is_http(url)) {
            self.top("model.url", "expected a URL such as \"http://127.0.0.1:8080/v1\"");
        }
        if m.backend == Backend::Local && m.path.is_none() {
            self.top("model.path", "backend \"local\" needs the path of a GGUF file; use backend = \"none\" to run on the fallback alone");
        }
        if m.sha256.as_deref().is_some_and(|s| s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit())) {
            self.top("model.sha256", "expected 64 hexadecimal digits, as printed by sha256sum");
        }
        if m.context < 512 || m.max_tokens < 64 || m.max_tokens >= m.context {
            self.top(
                "model.context",
                "expected a context of at least 512 tokens and max_tokens from 64 to below it",
            );
        }
        if m.deadline > site.cadence || m.deadline <= SignedDuration::ZERO {
            self.top(
                "model.deadline",
                "expected more than 0 and at most one cadence: a decision older than that is dropped",
            );
        }
    }

    pub(super) fn memory(&mut self, site: &Site) {
        let m = &site.memory;
        let [a, b, c] = [m.short, m.small, m.parked];
        if a.available_mb < b.available_mb || b.available_mb < c.available_mb {
            self.top(
                "memory.available_mb",
                "expected no more from one rung to the next: short, small, parked",
            );
        }
        for (key, [a, b, c]) in [
            ("memory.pressure_pct", [a, b, c].map(|s| s.pressure_pct)),
            ("memory.group_pct", [a, b, c].map(|s| s.group_pct)),
        ] {
            if a > b || b > c || a <= Finite::ZERO || c.get() > 100.0 {
                self.top(key, "expected percentages above 0 that do not fall from one rung to the next: short, small, parked");
            }
        }
        if !(0.0..100.0).contains(&m.margin_pct.get()) {
            self.top("memory.margin_pct", format!("expected 0 to below 100 %, got {}", m.margin_pct));
        }
        if m.sample < SignedDuration::from_millis(100) || m.hold < m.sample {
            self.top("memory.sample", "expected at least 100 ms, and a hold of at least one sample");
        }
        if m.small_context <= site.model.max_tokens {
            self.top(
                "memory.small_context",
                format!(
                    "expected more than model.max_tokens, {}: the reply alone would fill it",
                    site.model.max_tokens
                ),
            );
        }
    }

    /// Whatever is written there, it cools where it is asked to, and warms no faster than by steps.
    pub(super) fn fallback(&mut self, site: &Site) {
        let f = &site.fallback;
        let fallback = Spot::key("fallback");
        let why = "a share of the way from coldest to warmest";
        self.numbers(
            &fallback,
            "%",
            &[
                ("trim", f.trim.get(), 0.0, 100.0, why),
                ("respond", f.respond.get(), 0.1, 100.0, why),
                ("respond_max", f.respond_max.get(), 0.1, 100.0, why),
            ],
        );
        self.times(
            &fallback,
            &[
                ("delay", f.delay, SignedDuration::ZERO, HOUR * 24, "the reset starts moving after this"),
                (
                    "step",
                    f.step,
                    SECOND,
                    HOUR * 6,
                    "an answer to heat cannot wait longer, and not come sooner",
                ),
            ],
        );
    }
}
