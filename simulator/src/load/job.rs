//! Jobs on top of a workload, and what a scheduler says of them beforehand.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

/// One job: from `at_h` (hours since the start) for `hours`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub id: String,
    /// Which of the plant's workloads it adds to, counted from 0.
    #[serde(default)]
    pub load: usize,
    #[serde(deserialize_with = "crate::bounds::hours")]
    pub at_h: f64,
    #[serde(deserialize_with = "crate::bounds::hours")]
    pub hours: f64,
    /// What it adds, as a share of full load; together with the rest at most full load.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub share: f64,
    /// The power that its scheduler expects, kW: an estimate, as such figures are.
    #[serde(deserialize_with = "crate::bounds::power")]
    pub kw: f64,
    /// Minutes before the start at which it is announced; nobody says anything when absent.
    #[serde(default)]
    pub announce_min: Option<f64>,
    /// Minutes before the start at which it is called off, and then does not come.
    #[serde(default)]
    pub cancel_min: Option<f64>,
}

impl Job {
    /// What it adds at this hour.
    pub fn share_at(&self, hours: f64) -> f64 {
        let runs = self.cancel_min.is_none() && (self.at_h..self.at_h + self.hours).contains(&hours);
        if runs { self.share } else { 0.0 }
    }

    /// What its scheduler says after `from` until `to`, hours since the start.
    pub(crate) fn said(&self, from: f64, to: f64, start: Timestamp, place: &str) -> Vec<String> {
        let due = |minutes: Option<f64>| {
            minutes.is_some_and(|m| (from..to).contains(&(self.at_h - m / 60.0).max(0.0)))
        };
        let mut said = Vec::new();
        if due(self.announce_min) {
            let begins = SignedDuration::from_millis((self.at_h * 3.6e6).round() as i64);
            let begins = start.checked_add(begins).unwrap_or(Timestamp::MAX);
            let message =
                json!({ "id": self.id, "start": begins.to_string(), "kw": self.kw, "place": place });
            said.push(message.to_string());
        }
        if due(self.cancel_min) {
            said.push(json!({ "id": self.id, "cancelled": true }).to_string());
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_announced_once_runs_and_ends() {
        let text = "id = \"j\"\nat_h = 2\nhours = 1\nshare = 0.4\nkw = 150\nannounce_min = 30";
        let job: Job = toml::from_str(text).unwrap();
        let start: Timestamp = "2025-07-15T00:00:00Z".parse().unwrap();
        let said: Vec<String> = (0..240)
            .flat_map(|m| job.said(f64::from(m) / 60.0, f64::from(m + 1) / 60.0, start, "hall_a"))
            .collect();
        let told: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
        assert_eq!(said.len(), 1);
        assert_eq!(told["start"], "2025-07-15T02:00:00Z");
        assert_eq!((&told["place"], &told["kw"]), (&json!("hall_a"), &json!(150.0)));
        assert!(job.share_at(1.99) < 1e-9 && job.share_at(2.0) > 0.39 && job.share_at(3.0) < 1e-9);
        let off = Job { cancel_min: Some(10.0), ..job };
        assert!(off.share_at(2.5) < 1e-9);
        assert!(off.said(1.8, 1.9, start, "hall_a")[0].contains("cancelled"));
    }
}
