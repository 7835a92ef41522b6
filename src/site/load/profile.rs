//! Device profiles: what is known of a make of device, written once for every site that has one.
//!
//! A `[[device]]` with a `profile` takes from that file what it leaves out, and a register that names a `point` takes
//! from the profile of its device what it leaves out. That happens on the parsed text, before it becomes a
//! [`Site`](crate::site::Site): what was filled in stands where the site file asks for it, so that a complaint names that line.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue, Deserializer};

use super::spot::Spot;
use crate::site::source::{Device, Point};

/// Keys of a profile's point that are its setpoint's in the site file.
const OF_SETPOINT: [&str; 1] = ["writes_per_day"];

/// The texts of the profiles that a site names, by that name; or why there is none.
pub(super) struct Texts(BTreeMap<String, Result<String, String>>);

/// What a profile says, checked.
struct Profile<'a> {
    device: DeTable<'a>,
    points: DeTable<'a>,
}

/// What the whole of a profile looks like; devices and points are looked at one by one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(default)]
    device: toml::Table,
    #[serde(default)]
    point: BTreeMap<String, toml::Table>,
}

impl Texts {
    /// Relative paths start at `folder`, that of the site file.
    pub(super) fn of(site: &DeTable<'_>, folder: &Path) -> Self {
        let devices = get(site, "device").and_then(|d| d.get_ref().as_array());
        let named: BTreeSet<&str> =
            devices.into_iter().flatten().filter_map(|d| text(d.get_ref().as_table()?, "profile")).collect();
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
        };
        Self(named.into_iter().map(|name| (name.to_owned(), read(name))).collect())
    }

    /// Fills in what the site leaves to its profiles, and says what cannot be.
    pub(super) fn fill<'a>(&'a self, site: &mut DeTable<'a>) -> Vec<(Spot, String)> {
        let mut problems = Vec::new();
        let profiles: BTreeMap<&str, Result<Profile<'a>, String>> =
            self.0.iter().map(|(name, text)| (name.as_str(), read(name, text))).collect();
        let mut of_devices = BTreeMap::new();
        for (spot, device) in entries(site, "device") {
            let Some((name, span)) = spanned(device, "profile") else { continue };
            let Some(profile) = profiles.get(name.as_str()) else { continue };
            match profile {
                Ok(profile) => {
                    fill_in(device, &profile.device, &span);
                    let of = text(device, "name").unwrap_or_default().to_owned();
                    of_devices.insert(of, (name, profile));
                }
                Err(why) => problems.push((spot.at("profile"), why.clone())),
            }
        }
        if !problems.is_empty() {
            return problems;
        }
        let mut point = |spot: Spot, of: &mut DeTable<'a>| {
            fill_point(of, &of_devices).unwrap_or_else(|why| {
                problems.push((spot.at("point"), why));
                None
            })
        };
        for (spot, signal) in entries(site, "signal") {
            if let Some(source) = table(signal, "source") {
                point(spot.at("source"), source);
            }
        }
        for (spot, setpoint) in entries(site, "setpoint") {
            let written = table(setpoint, "register").and_then(|of| point(spot.at("register"), of));
            if let Some((known, span)) = written {
                fill_in(setpoint, &only(known, |k| OF_SETPOINT.contains(&k)), &span);
            }
            if let Some(active) = table(setpoint, "active") {
                point(spot.at("active"), active);
            }
        }
        if let Some(link) = table(site, "link") {
            for key in ["enable", "heartbeat"] {
                if let Some(of) = table(link, key) {
                    point(Spot::key("link").at(key), of);
                }
            }
        }
        problems
    }
}

/// Parses and checks a profile.
fn read<'a>(name: &str, text: &'a Result<String, String>) -> Result<Profile<'a>, String> {
    let text = text.as_ref().map_err(Clone::clone)?;
    let wrong = |e: toml::de::Error| format!("{name}: {e}");
    let whole: Whole = toml::from_str(text).map_err(wrong)?;
    let root = DeTable::parse(text).map_err(wrong)?.into_inner();
    let (device, points) = (part(&root, "device"), part(&root, "point"));
    if let Some(key) = ["name", "host", "profile"].into_iter().find(|k| whole.device.contains_key(*k)) {
        return Err(format!("{name}: device: {key} is the site's to say: leave it out"));
    }
    check::<Device>(device.clone(), &["name", "host"], text).map_err(wrong)?;
    for (point, said) in &whole.point {
        if let Some(key) = ["device", "point"].into_iter().find(|k| said.contains_key(*k)) {
            return Err(format!("{name}: point.{point}: {key} is the site's to say: leave it out"));
        }
        let register = part(points.get_ref(), point);
        let span = register.span();
        let register = Spanned::new(span, only(register.get_ref(), |k| !OF_SETPOINT.contains(&k)));
        check::<Point>(register, &["device"], text).map_err(wrong)?;
    }
    Ok(Profile { device: device.into_inner(), points: points.into_inner() })
}

/// Fills in a register that names a point; gives what its profile says of that point, and where it is named.
fn fill_point<'p, 'a>(
    of: &mut DeTable<'a>,
    profiles: &BTreeMap<String, (String, &'p Profile<'a>)>,
) -> Result<Option<(&'p DeTable<'a>, Range<usize>)>, String> {
    let Some((point, span)) = spanned(of, "point") else { return Ok(None) };
    let device = text(of, "device").unwrap_or_default();
    let Some((name, profile)) = profiles.get(device) else {
        return Err(format!("device \"{device}\" names no profile that could know of \"{point}\""));
    };
    let Some(known) = get(&profile.points, &point).and_then(|v| v.get_ref().as_table()) else {
        let all: Vec<&str> = profile.points.keys().map(|k| k.get_ref().as_ref()).collect();
        return Err(format!("{name} has no point \"{point}\" (there are: {})", all.join(", ")));
    };
    fill_in(of, &only(known, |k| !OF_SETPOINT.contains(&k)), &span);
    Ok(Some((known, span)))
}

/// Whether `part` is what a `T` may say, apart from what the site says itself.
fn check<T: DeserializeOwned>(
    mut part: Spanned<DeTable<'_>>,
    by_the_site: &[&str],
    text: &str,
) -> Result<(), toml::de::Error> {
    for key in by_the_site {
        let word = |s: &str| DeString::from(s.to_owned());
        let value = DeValue::String(word("site"));
        part.get_mut().insert(Spanned::new(0..0, word(key)), Spanned::new(0..0, value));
    }
    T::deserialize(Deserializer::from(part)).map(drop).map_err(|mut e| {
        e.set_input(Some(text));
        e
    })
}

/// Copies what `into` leaves out, as if it stood at `span`.
fn fill_in<'a>(into: &mut DeTable<'a>, from: &DeTable<'a>, span: &Range<usize>) {
    for (key, value) in from {
        if get(into, key.get_ref()).is_none() {
            into.insert(Spanned::new(span.clone(), key.get_ref().clone()), moved(value, span));
        }
    }
}

fn moved<'a>(value: &Spanned<DeValue<'a>>, span: &Range<usize>) -> Spanned<DeValue<'a>> {
    let value = match value.get_ref().as_array() {
        Some(items) => {
            let mut array = DeArray::new();
            items.iter().for_each(|v| array.push(moved(v, span)));
            DeValue::Array(array)
        }
        None => value.get_ref().clone(),
    };
    Spanned::new(span.clone(), value)
}

fn only<'a>(table: &DeTable<'a>, which: impl Fn(&str) -> bool) -> DeTable<'a> {
    let chosen = table.iter().filter(|(k, _)| which(k.get_ref()));
    chosen.map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn get<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<&'t Spanned<DeValue<'a>>> {
    table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, v)| v)
}

/// A table in a table; empty where it is left out.
fn part<'a>(of: &DeTable<'a>, key: &str) -> Spanned<DeTable<'a>> {
    let found = get(of, key).and_then(|v| Some(Spanned::new(v.span(), v.get_ref().as_table()?.clone())));
    found.unwrap_or_else(|| Spanned::new(0..0, DeTable::new()))
}

fn text<'t>(table: &'t DeTable<'_>, key: &str) -> Option<&'t str> {
    get(table, key)?.get_ref().as_str()
}

/// A text, and where it stands.
fn spanned(table: &DeTable<'_>, key: &str) -> Option<(String, Range<usize>)> {
    let value = get(table, key)?;
    Some((value.get_ref().as_str()?.to_owned(), value.span()))
}

fn table<'t, 'a>(of: &'t mut DeTable<'a>, key: &str) -> Option<&'t mut DeTable<'a>> {
    let (_, value) = of.iter_mut().find(|(k, _)| k.get_ref() == key)?;
    if let DeValue::Table(table) = value.get_mut() { Some(table) } else { None }
}

/// The entries of a table that may have several, and where each is.
fn entries<'t, 'a>(site: &'t mut DeTable<'a>, key: &'static str) -> Vec<(Spot, &'t mut DeTable<'a>)> {
    let Some((_, value)) = site.iter_mut().find(|(k, _)| k.get_ref() == key) else { return Vec::new() };
    let DeValue::Array(array) = value.get_mut() else { return Vec::new() };
    let tables = array.iter_mut().enumerate().filter_map(|(nth, entry)| {
        let DeValue::Table(table) = entry.get_mut() else { return None };
        let name = text(table, "name").unwrap_or_default().to_owned();
        Some((Spot::entry(key, nth, name), table))
    });
    tables.collect()
}
