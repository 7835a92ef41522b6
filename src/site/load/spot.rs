//! Where in a site file something is wrong: its name for people, and its line.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A field or an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Spot {
    field: String,
    path: Vec<Step>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Key(String),
    /// One of several entries, counted from 0.
    Nth(usize),
}

impl Spot {
    /// `envelope.cool_at`
    pub(super) fn key(key: &str) -> Self {
        Self { field: key.to_owned(), path: steps(key).collect() }
    }

    /// `signal "chws"`, which is the one of that number: two can have one name.
    pub(super) fn entry(table: &str, nth: usize, name: impl fmt::Display) -> Self {
        Self::named(format!("{table} \"{name}\""), table, nth)
    }

    /// An entry of a table whose entries have no names.
    pub(super) fn named(field: String, table: &str, nth: usize) -> Self {
        Self { field, path: steps(table).chain([Step::Nth(nth)]).collect() }
    }

    /// A field of this one.
    pub(super) fn at(&self, key: &str) -> Self {
        let of_entry = matches!(self.path.last(), Some(Step::Nth(_)));
        let field = format!("{}{}{key}", self.field, if of_entry { ": " } else { "." });
        Self { field, path: self.path.iter().cloned().chain(steps(key)).collect() }
    }

    pub(super) fn into_field(self) -> String {
        self.field
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field)
    }
}

fn steps(key: &str) -> impl Iterator<Item = Step> + '_ {
    key.split('.').map(|k| Step::Key(k.to_owned()))
}

/// The lines of a site's text.
pub(super) struct Lines<'a> {
    text: &'a str,
    whole: Option<DeTable<'a>>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, whole: DeTable::parse(text).ok().map(Spanned::into_inner) }
    }

    /// Counted from 1. A field that is left out has the line of its table or entry, where there is one.
    pub(super) fn find(&self, spot: &Spot) -> Option<usize> {
        let mut steps = spot.path.iter();
        let Step::Key(first) = steps.next()? else { return None };
        let (mut start, mut value) = entry(self.whole.as_ref()?, first)?;
        for step in steps {
            let next = match (step, value) {
                (Step::Key(key), DeValue::Table(table)) => entry(table, key),
                (Step::Nth(nth), DeValue::Array(array)) => array.get(*nth).map(beginning),
                _ => None,
            };
            let Some(next) = next else { break };
            (start, value) = next;
        }
        Some(self.text.get(..start)?.matches('\n').count() + 1)
    }
}

fn entry<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<(usize, &'t DeValue<'a>)> {
    let (key, value) = table.iter().find(|(k, _)| k.get_ref() == key)?;
    Some((key.span().start, value.get_ref()))
}

/// An entry begins where it is named.
fn beginning<'t, 'a>(entry: &'t Spanned<DeValue<'a>>) -> (usize, &'t DeValue<'a>) {
    let name = entry.get_ref().as_table().and_then(|t| self::entry(t, "name"));
    (name.map_or(entry.span().start, |(start, _)| start), entry.get_ref())
}
