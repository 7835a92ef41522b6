//! Reads a directive's hard meaning: bounds on setpoints, and an end.
//!
//! Every word must be understood, or the whole text is for the model alone: "above 10 except in hall B"
//! must not become "above 10". A reason after "because", "due to", "while" or a colon is left aside.

use jiff::{SignedDuration, Timestamp};

use super::{Limit, Refused, Understood};
use crate::prose::{self, Kind, Number, Token};
use crate::site::terms::{Subject, Terms};
use crate::site::{Name, Setpoint, Site};
use crate::units::Finite;

pub(super) struct Reading {
    pub(super) understood: Understood,
    pub(super) until: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound {
    Floor,
    Ceiling,
    Exact,
    Between,
}

const BOUNDS: [(&str, Bound); 28] = [
    ("at or above", Bound::Floor),
    ("at least", Bound::Floor),
    ("no lower than", Bound::Floor),
    ("not lower than", Bound::Floor),
    ("no less than", Bound::Floor),
    ("not less than", Bound::Floor),
    ("not below", Bound::Floor),
    ("never below", Bound::Floor),
    ("above", Bound::Floor),
    ("over", Bound::Floor),
    ("minimum of", Bound::Floor),
    ("minimum", Bound::Floor),
    ("at or below", Bound::Ceiling),
    ("at most", Bound::Ceiling),
    ("no higher than", Bound::Ceiling),
    ("not higher than", Bound::Ceiling),
    ("no more than", Bound::Ceiling),
    ("not more than", Bound::Ceiling),
    ("not above", Bound::Ceiling),
    ("never above", Bound::Ceiling),
    ("below", Bound::Ceiling),
    ("under", Bound::Ceiling),
    ("maximum of", Bound::Ceiling),
    ("maximum", Bound::Ceiling),
    ("between", Bound::Between),
    ("from", Bound::Between),
    ("at", Bound::Exact),
    ("to", Bound::Exact),
];
/// Leave a setpoint where it is; of most of them, unless a value follows.
const HOLDS: [(&str, Hold); 11] = [
    ("hold", Hold::AtOrHere),
    ("keep", Hold::AtOrHere),
    ("freeze", Hold::HereOrAt),
    ("leave", Hold::HereOrAt),
    ("do not touch", Hold::Here),
    ("do not move", Hold::Here),
    ("do not change", Hold::Here),
    ("don't touch", Hold::Here),
    ("don't move", Hold::Here),
    ("don't change", Hold::Here),
    ("no change to", Hold::Here),
];
/// After these, what was named is to stay where it is, whatever comes next.
const STAYS: [&str; 3] = ["alone", "unchanged", "set"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    /// No value can be meant.
    Here,
    HereOrAt,
    /// "Keep A, B at 20": A too, or not?
    AtOrHere,
}
const REASONS: [&str; 4] = ["because", "due to", "while", "since"];
const FILLERS: [&str; 22] = [
    "please",
    "the",
    "a",
    "an",
    "temperature",
    "and",
    "it",
    "its",
    "set",
    "stay",
    "stays",
    "must",
    "should",
    "be",
    "of",
    "is",
    "as",
    "alone",
    "unchanged",
    "constant",
    "steady",
    "here",
];

pub(super) fn read(site: &Site, now: Timestamp, text: &str) -> Result<Reading, Refused> {
    let tokens = prose::read(text);
    let mut reader = Reader {
        site,
        now,
        terms: Terms::new(site),
        words: tokens.iter().map(|t| if let Kind::Word(w) = &t.kind { w.as_str() } else { "" }).collect(),
        tokens: &tokens,
        at: 0,
        until: None,
        limits: Vec::new(),
        subjects: Vec::new(),
        bound: None,
        hold: None,
        unclear: false,
    };
    let understood = match reader.sentence() {
        Ok(()) if reader.limits.is_empty() => {
            Understood::TextOnly { why: "it names no bound on a setpoint".to_owned() }
        }
        Ok(()) => Understood::Limits(reader.limits),
        Err(Trouble::Text(why)) => Understood::TextOnly { why },
        Err(Trouble::Refused(refused)) => return Err(refused),
    };
    Ok(Reading { understood, until: reader.until })
}

/// Why reading ended early.
enum Trouble {
    Text(String),
    Refused(Refused),
}

struct Reader<'a> {
    site: &'a Site,
    now: Timestamp,
    terms: Terms,
    tokens: &'a [Token],
    words: Vec<&'a str>,
    at: usize,
    until: Option<Timestamp>,
    limits: Vec<Limit>,
    /// Setpoints named and not bounded yet.
    subjects: Vec<Name>,
    bound: Option<Bound>,
    hold: Option<Hold>,
    /// Something may be meant to stay, or to get the next value.
    unclear: bool,
}

impl Reader<'_> {
    fn sentence(&mut self) -> Result<(), Trouble> {
        while let Some(token) = self.tokens.get(self.at) {
            if self.end_time()? {
                continue;
            }
            match &token.kind {
                Kind::Number(number) => self.number(*number)?,
                Kind::Clock { .. } | Kind::Odd => return Err(self.lost()),
                Kind::Sign(sign) => {
                    self.bound = Some(if sign.starts_with('>') { Bound::Floor } else { Bound::Ceiling });
                }
                Kind::Pause(':' | '(') => break,
                Kind::Pause(_) | Kind::Stop => self.stay(),
                Kind::Word(_) => {
                    if let Some(len) = self.phrase(&REASONS) {
                        self.at += len;
                        break;
                    }
                    if self.word()? {
                        continue;
                    }
                }
            }
            self.at += 1;
        }
        self.stay();
        match (self.bound, self.subjects.first()) {
            (None, None) => Ok(()),
            (Some(_), _) => Err(Trouble::Text("a bound without a value".to_owned())),
            (None, Some(name)) => Err(Trouble::Text(format!("no value is given for {name}"))),
        }
    }

    /// What is to be held and has no value yet is held where it is.
    fn stay(&mut self) {
        if self.bound.is_some() || self.subjects.is_empty() {
            return;
        }
        let Some(hold) = self.hold.take() else { return };
        self.unclear |= hold == Hold::AtOrHere;
        let subjects = std::mem::take(&mut self.subjects).into_iter();
        let held = |setpoint| Limit { setpoint, floor: None, ceiling: None, hold: true, until: None };
        self.limits.extend(subjects.map(held));
    }

    /// Reads a name, a bound, a verb or a filler; `true` when it has moved past it.
    fn word(&mut self) -> Result<bool, Trouble> {
        let rest = self.words.get(self.at..).unwrap_or_default();
        if let Some((len, subjects)) = self.terms.find(rest) {
            let setpoints: Vec<Name> = subjects
                .iter()
                .filter_map(|s| if let Subject::Setpoint(n) = s { Some(n.clone()) } else { None })
                .collect();
            if setpoints.is_empty() {
                let what = rest.get(..len).unwrap_or_default().join(" ");
                return Err(Trouble::Text(format!("{what} is measured, not set")));
            }
            self.subjects.extend(setpoints);
            self.at += len;
            return Ok(true);
        }
        if let Some((phrase, bound)) = BOUNDS.iter().find(|(p, _)| self.phrase(&[p]).is_some()) {
            self.bound = Some(match self.bound {
                // "at least at 80", "to at least 80": the word that says more counts.
                Some(before) if *bound == Bound::Exact => before,
                None | Some(Bound::Exact) => *bound,
                Some(before) if before == *bound => before,
                Some(_) => return Err(self.lost()),
            });
            self.at += phrase.split(' ').count();
            return Ok(true);
        }
        if let Some((phrase, hold)) = HOLDS.iter().find(|(p, _)| self.phrase(&[p]).is_some()) {
            self.stay();
            self.hold = Some(*hold);
            self.at += phrase.split(' ').count();
            return Ok(true);
        }
        if self.phrase(&STAYS).is_some() {
            self.stay();
        }
        if self.phrase(&FILLERS).is_some() { Ok(false) } else { Err(self.lost()) }
    }

    /// A value for the setpoints named, or, with none yet, for the one that follows.
    fn number(&mut self, number: Number) -> Result<(), Trouble> {
        if self.unclear || self.hold.take() == Some(Hold::Here) {
            return Err(Trouble::Text("it is not clear which setpoints the value is for".to_owned()));
        }
        if self.subjects.is_empty() {
            let rest = self.words.get(self.at + 1..).unwrap_or_default();
            let Some((len, subjects)) = self.terms.find(rest) else { return Err(self.lost()) };
            self.subjects.extend(
                subjects.iter().filter(|s| matches!(s, Subject::Setpoint(_))).map(|s| s.name().clone()),
            );
            self.at += len;
        }
        let mut bound = self.bound.take().unwrap_or(Bound::Exact);
        let mut high = number;
        if bound == Bound::Between {
            let second = self
                .tokens
                .get(self.at + 1..)
                .unwrap_or_default()
                .iter()
                .position(|t| matches!(t.kind, Kind::Number(_)));
            let joined = second.is_some_and(|n| n <= 1);
            let Some(Kind::Number(n)) =
                second.filter(|_| joined).and_then(|n| self.tokens.get(self.at + 1 + n)).map(|t| &t.kind)
            else {
                return Err(self.lost());
            };
            high = *n;
            self.at += 1 + second.unwrap_or_default();
        }
        if bound == Bound::Between && high.value < number.value {
            bound = Bound::Exact;
            if (high.value - number.value).abs() > 0.0 {
                return Err(Trouble::Text("the first of two bounds is the higher one".to_owned()));
            }
        }
        let subjects = std::mem::take(&mut self.subjects);
        if subjects.is_empty() {
            return Err(self.lost());
        }
        for name in subjects {
            let Some(setpoint) = self.site.setpoint(&name) else { continue };
            let (low, high) = (value(setpoint, number)?, value(setpoint, high)?);
            let floor = (bound != Bound::Ceiling).then_some(low);
            let ceiling = (bound != Bound::Floor).then_some(high);
            self.limits.push(Limit { setpoint: name, floor, ceiling, hold: false, until: None });
        }
        Ok(())
    }

    /// `until 14:00`, `for 3 hours`; `true` when it was one and has been read.
    fn end_time(&mut self) -> Result<bool, Trouble> {
        let next = |n: usize| self.tokens.get(self.at + n).map(|t| &t.kind);
        let end = match (self.words.get(self.at).copied(), next(1)) {
            (Some("until" | "till"), Some(Kind::Clock { hour, minute })) => self.next_time(*hour, *minute),
            (Some("until" | "till"), _) => return Err(self.lost()),
            (Some("for"), Some(Kind::Number(n))) => match n.as_minutes() {
                Some(minutes) => {
                    self.now.checked_add(SignedDuration::from_secs((minutes * 60.0) as i64)).ok()
                }
                None => return Ok(false),
            },
            (Some("for"), Some(Kind::Word(_))) => {
                // "for maintenance": a reason.
                self.at = self.tokens.len();
                return Ok(true);
            }
            _ => return Ok(false),
        };
        if end.is_none() {
            return Err(self.lost());
        }
        self.until = end;
        self.at += 2;
        Ok(true)
    }

    fn next_time(&self, hour: i8, minute: i8) -> Option<Timestamp> {
        let zone = self.site.zone();
        let today = zone.to_datetime(self.now).date();
        let on = |date: jiff::civil::Date| zone.to_timestamp(date.at(hour, minute, 0, 0)).ok();
        on(today).filter(|t| *t > self.now).or_else(|| on(today.tomorrow().ok()?))
    }

    /// The number of words of the first of `phrases` that comes next.
    fn phrase(&self, phrases: &[&str]) -> Option<usize> {
        let rest = self.words.get(self.at..)?;
        phrases.iter().find_map(|p| {
            let len = p.split(' ').count();
            (rest.len() >= len && p.split(' ').zip(rest).all(|(a, b)| a == *b)).then_some(len)
        })
    }

    fn lost(&self) -> Trouble {
        let what = match self.tokens.get(self.at).map(|t| &t.kind) {
            Some(Kind::Word(w)) => format!("the word \"{w}\" has no meaning as a bound"),
            Some(Kind::Number(n)) => format!("it is not clear what {} stands for", n.value),
            _ => "a part of it is not clear".to_owned(),
        };
        Trouble::Text(what)
    }
}

/// A number in a setpoint's unit, inside its own limits.
fn value(setpoint: &Setpoint, number: Number) -> Result<Finite, Trouble> {
    let value = number.as_level(setpoint.unit).and_then(Finite::new).map(|v| v.rounded(3));
    let Some(value) = value.filter(|_| !number.rate) else {
        return Err(Trouble::Text(format!("{} is set in {}", setpoint.name, setpoint.unit)));
    };
    if value < setpoint.min || value > setpoint.max {
        return Err(Trouble::Refused(Refused::OutOfRange {
            setpoint: setpoint.name.to_string(),
            value: value.to_string(),
            min: setpoint.min.to_string(),
            max: setpoint.max.to_string(),
            unit: setpoint.unit.to_string(),
        }));
    }
    Ok(value)
}
