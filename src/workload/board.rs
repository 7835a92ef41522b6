//! The jobs that have been announced. Pure, total and bounded: any bytes may come in.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Job, JobId};
use crate::site::{Name, Place, Site};
use crate::units::Finite;

/// Jobs that may stand on the board at a time.
pub(super) const MOST_JOBS: usize = 64;
/// Further ahead nobody plans the cooling.
const MOST_AHEAD: SignedDuration = SignedDuration::from_hours(24);
const MOST_BYTES: usize = 4096;

/// Why an announcement was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: expected {expected}, got {got}")]
pub struct Refused {
    pub field: &'static str,
    pub expected: String,
    pub got: String,
}

/// What an announcement did.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    Announced(Job),
    /// The same id again: what it said before no longer holds.
    Changed(Job),
    Cancelled(JobId),
}

#[derive(Clone, Debug)]
pub struct Board {
    places: Vec<Place>,
    jobs: BTreeMap<JobId, Job>,
}

impl Refused {
    fn new(field: &'static str, expected: impl Into<String>, got: &impl ToString) -> Self {
        let got = got.to_string();
        let short: String = got.chars().take(60).collect();
        let got = if short.len() < got.len() { format!("{short}…") } else { short };
        Self { field, expected: expected.into(), got }
    }
}

impl Board {
    #[must_use]
    pub fn new(site: &Site) -> Self {
        Self { places: site.places(), jobs: BTreeMap::new() }
    }

    /// Jobs that have not started, the next one first. What has started is measured, and leaves the board.
    pub fn standing(&mut self, now: Timestamp) -> Vec<Job> {
        self.jobs.retain(|_, job| job.start > now);
        self.jobs()
    }

    /// The same as of the last look.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.jobs.values().cloned().collect();
        jobs.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
        jobs
    }

    /// Takes back what another board had, as far as the site still has room for it. It need not be announced again;
    /// what has started since leaves with the next look.
    pub fn recall(&mut self, jobs: &[Job]) {
        for job in jobs {
            let (capacity, taken) = self.room(&job.id, job.place.as_ref());
            if self.jobs.len() < MOST_JOBS && job.kw.get() > 0.0 && job.kw.get() <= capacity - taken {
                self.jobs.insert(job.id.clone(), job.clone());
            }
        }
    }

    /// How many kilowatts a place takes, or the whole site, and how many of them other jobs have announced. A place
    /// that is not there takes none.
    fn room(&self, id: &JobId, place: Option<&Name>) -> (f64, f64) {
        let here = self.places.iter().filter(|p| place.is_none_or(|name| *name == p.name));
        let others = self.jobs.values().filter(|job| job.id != *id);
        let within = others.filter(|job| place.is_none() || job.place.as_ref() == place);
        (here.map(|p| p.capacity_kw.get()).sum(), within.map(|job| job.kw.get()).sum())
    }

    /// Takes in `{"id", "start", "kw", "place"}` or `{"id", "cancelled": true}`.
    pub fn hear(&mut self, now: Timestamp, message: &[u8]) -> Result<Heard, Refused> {
        if message.len() > MOST_BYTES {
            let expected = format!("at most {MOST_BYTES} bytes");
            return Err(Refused::new("message", expected, &message.len()));
        }
        let expected = r#"a JSON object {"id", "start", "kw", "place"} or {"id", "cancelled": true}"#;
        let json = serde_json::from_slice::<Value>(message).ok();
        let Some(fields) = json.as_ref().and_then(Value::as_object) else {
            return Err(Refused::new("message", expected, &String::from_utf8_lossy(message)));
        };
        let id = read(fields, "id", JobId::EXPECTED, |v| JobId::try_from(v.as_str()?.to_owned()).ok())?;
        self.jobs.retain(|_, job| job.start > now);
        if fields.contains_key("cancelled") {
            read(fields, "cancelled", "true", |v| v.as_bool()?.then_some(()))?;
            return match self.jobs.remove(&id) {
                Some(_) => Ok(Heard::Cancelled(id)),
                None => Err(Refused::new("id", "the id of a job that is announced and has not started", &id)),
            };
        }
        let job = self.job(now, id, fields)?;
        let before = self.jobs.insert(job.id.clone(), job.clone());
        Ok(if before.is_some() { Heard::Changed(job) } else { Heard::Announced(job) })
    }

    fn job(&self, now: Timestamp, id: JobId, fields: &Map<String, Value>) -> Result<Job, Refused> {
        if self.jobs.keys().filter(|known| **known != id).count() >= MOST_JOBS {
            let expected =
                format!("at most {MOST_JOBS} announced jobs: cancel one, or wait until one starts");
            return Err(Refused::new("id", expected, &id));
        }
        let latest = now + MOST_AHEAD;
        let expected = format!("a time after {now} and at most 24 h ahead, such as \"{latest}\"");
        let start = read(fields, "start", &expected, |v| {
            v.as_str()?.parse::<Timestamp>().ok().filter(|start| *start > now && *start <= latest)
        })?;
        let names: Vec<&str> = self.places.iter().map(|p| p.name.as_str()).collect();
        let expected = format!("one of {}, or no place", names.join(", "));
        let place = match fields.get("place") {
            None | Some(Value::Null) => None,
            Some(_) => Some(read(fields, "place", &expected, |v| {
                let name: Name = v.as_str()?.parse().ok()?;
                names.contains(&name.as_str()).then_some(name)
            })?),
        };
        let (capacity, taken) = self.room(&id, place.as_ref());
        let most = (capacity - taken).max(0.0);
        let whole = place.as_ref().map_or("the site", Name::as_str);
        let expected = format!(
            "more than 0 and at most {most} kW ({whole} takes {capacity} kW, of which {taken} are announced)"
        );
        let kw = read(fields, "kw", &expected, |v| {
            Finite::new(v.as_f64()?).filter(|kw| kw.get() > 0.0 && kw.get() <= most)
        })?;
        Ok(Job { id, start, kw, place })
    }
}

/// A field that must be there and be understood.
fn read<T>(
    fields: &Map<String, Value>,
    field: &'static str,
    expected: &str,
    parse: impl Fn(&Value) -> Option<T>,
) -> Result<T, Refused> {
    let Some(value) = fields.get(field) else { return Err(Refused::new(field, expected, &"nothing")) };
    parse(value).ok_or_else(|| Refused::new(field, expected, value))
}
