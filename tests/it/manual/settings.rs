//! Every TOML in the manual is taken by what reads such a file.

use isotherm::ingest::trace::Mapping;
use isotherm::site::{self, Site};
use toml::{Table, Value};

use super::{blocks, pages, root};

/// Files that fragments are of, other than a site's.
const MAPPING: &str = "docs/traces.md";

/// A fragment over a whole: tables key by key, entries of lists by their name.
fn merge(whole: &mut Table, fragment: Table) {
    for (key, new) in fragment {
        match (whole.get_mut(&key), new) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if new.iter().all(Value::is_table) => {
                for entry in new {
                    let same = entry
                        .get("name")
                        .and_then(|name| old.iter().position(|o| o.get("name") == Some(name)));
                    match same {
                        Some(at) => old[at] = entry,
                        None => old.push(entry),
                    }
                }
            }
            (_, new) => {
                whole.insert(key, new);
            }
        }
    }
}

fn read(text: &str) -> Result<Site, String> {
    // As a file at the root would be: profiles are where the manual has them.
    site::parse(text, &root().join("site.toml")).map_err(|e| e.to_string())
}

/// The site that ships with a fragment in it.
fn with(plant: &str, fragment: &str) -> Result<(Site, Site), String> {
    let shipped = std::fs::read_to_string(root().join(format!("sites/{plant}.toml"))).unwrap();
    let mut whole: Table = shipped.parse().unwrap();
    merge(&mut whole, fragment.parse().map_err(|e: toml::de::Error| e.to_string())?);
    Ok((read(&shipped)?, read(&toml::to_string(&whole).unwrap())?))
}

/// What a block says is the default is what a site without it has.
fn says_defaults(block: &str) -> bool {
    block.lines().next().is_some_and(|line| line.contains("# the defaults"))
}

#[test]
fn every_setting_in_the_manual_is_one() {
    let (mut seen, mut defaults) = (0, 0);
    for (page, text) in pages() {
        for (_, block) in blocks(&text).filter(|(kind, _)| *kind == "toml") {
            seen += 1;
            if page.ends_with(MAPPING) {
                toml::from_str::<Mapping>(block)
                    .unwrap_or_else(|e| panic!("{}: {e}\n{block}", page.display()));
                continue;
            }
            let tried = ["air", "liquid", "immersion"].map(|plant| with(plant, block));
            let Some((shipped, merged)) = tried.iter().find_map(|t| t.as_ref().ok()) else {
                let why: Vec<_> = tried.into_iter().filter_map(Result::err).collect();
                panic!("{}: no site takes\n{block}\n{}", page.display(), why.join("\n"));
            };
            if says_defaults(block) {
                defaults += 1;
                assert_eq!(shipped, merged, "{}: not the defaults\n{block}", page.display());
            }
        }
    }
    assert!(seen >= 11 && defaults == 2, "{seen} {defaults}");
}

#[test]
fn a_setting_that_is_none_is_found() {
    for wrong in
        ["[memory]\nsampel = \"5s\"", "[[signal]]\nname = \"x\"\nunit = \"degC\"", "[nothing]\na = 1"]
    {
        assert!(["air", "liquid", "immersion"].iter().all(|plant| with(plant, wrong).is_err()), "{wrong}");
    }
    let mapping = "[time]\ncolumn = \"time\"\n[[columns]]\n";
    assert!(toml::from_str::<Mapping>(mapping).is_err());
}
