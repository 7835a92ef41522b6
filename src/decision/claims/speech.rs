//! Goes through a text sentence by sentence and hands every claim to its check.

use std::collections::{BTreeMap, BTreeSet};

use super::items::{Clause, Form, Is, Item, Prep, Sentence, Way, sentences};
use super::{Check, Claim, close};
use crate::facts::{Facts, SetpointFacts, SignalFacts};
use crate::prose::Number;
use crate::site::Name;
use crate::site::terms::Subject;
use crate::units::Finite;

/// What is being talked about.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Topic {
    pub(super) signals: Vec<Name>,
    pub(super) setpoints: Vec<Name>,
}

impl Topic {
    fn of(subjects: &[Subject]) -> Self {
        let mut topic = Self::default();
        for subject in subjects {
            match subject {
                Subject::Signal(n) => topic.signals.push(n.clone()),
                Subject::Setpoint(n) => topic.setpoints.push(n.clone()),
            }
        }
        topic
    }
}

/// One text being checked.
pub(super) struct Speech<'a> {
    pub(super) facts: &'a Facts,
    /// All setpoints as they will be.
    pub(super) chosen: &'a BTreeMap<Name, Finite>,
    pub(super) text: &'a str,
    pub(super) checks: &'a mut Vec<Check>,
    /// Setpoints that a verb has moved or held so far.
    pub(super) mentioned: BTreeSet<Name>,
    /// What the sentence last talked about, and whether of its margin.
    pub(super) carry: Option<(Topic, bool)>,
    /// The same before a value narrowed it: "inlets 23.4 and 26.1".
    pub(super) group: Option<Topic>,
    /// The last verb that moved or held setpoints, for "lower A and B".
    pub(super) verb: Option<Verb>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Move(Way),
    Hold,
}

/// A clause with its topics resolved: rankings applied, one entry for every item.
pub(super) struct Scene<'a> {
    pub(super) clause: &'a Clause,
    pub(super) topics: Vec<Option<Topic>>,
    /// Direction words that are part of a comparison ("falls under").
    pub(super) crossing: BTreeSet<usize>,
    /// Amounts that a comparison has checked.
    pub(super) used: BTreeSet<usize>,
    /// Amounts that name limits.
    pub(super) bounds: BTreeSet<usize>,
}

impl Scene<'_> {
    pub(super) fn is(&self, at: usize) -> Option<&Is> {
        self.clause.items.get(at).map(|i| &i.is)
    }

    pub(super) fn before(&self, at: usize) -> Option<&Is> {
        self.is(at.checked_sub(1)?)
    }

    /// The nearest topic before `at`.
    pub(super) fn topic_before(&self, at: usize) -> Option<&Topic> {
        self.topics.get(..at)?.iter().rev().find_map(Option::as_ref)
    }

    /// The nearest topic after `at`, with nothing that claims in between.
    pub(super) fn topic_after(&self, at: usize) -> Option<&Topic> {
        let (n, topic) =
            self.topics.iter().enumerate().skip(at + 1).find_map(|(n, t)| Some((n, t.as_ref()?)))?;
        let between = self.clause.items.get(at + 1..n)?;
        let claims = |i: &Item| {
            matches!(
                i.is,
                Is::Way(..) | Is::Hold | Is::Steady | Is::Compare(_) | Is::Loose(_) | Is::Inside(_)
            )
        };
        (!between.iter().any(claims)).then_some(topic)
    }

    pub(super) fn any(&self, test: impl Fn(&Is) -> bool) -> bool {
        self.clause.items.iter().any(|i| test(&i.is))
    }

    /// The span of time that belongs to item `at`: one that follows it before another amount or direction,
    /// or one that opens the clause.
    pub(super) fn time_of(&self, at: usize) -> Option<(Option<Prep>, bool, f64)> {
        let holder = |is: &Is| {
            is.is_amount() || matches!(is, Is::Way(..) | Is::Compare(_) | Is::Loose(_) | Is::Inside(_))
        };
        let items = &self.clause.items;
        let time = items.iter().enumerate().find(|(n, i)| {
            i.is.is_time() && {
                let owner = items
                    .iter()
                    .enumerate()
                    .take(*n)
                    .rev()
                    .find(|(m, i)| holder(&i.is) && !self.time_prep(*m, *n));
                let first = items.iter().enumerate().find(|(m, i)| holder(&i.is) && !self.time_prep(*m, *n));
                owner.or(first).is_some_and(|(m, _)| m == at)
            }
        });
        let (n, item) = time?;
        let Is::Number(number) = &item.is else { return None };
        let prep = match self.before(n) {
            Some(Is::Prep(p)) => Some(*p),
            _ => None,
        };
        Some((prep, matches!(self.before(n), Some(Is::Inside(true))), number.as_minutes()?))
    }

    /// Whether item `m` is only the preposition of the span of time at `n`: "within 15 min", "over 10 min".
    fn time_prep(&self, m: usize, n: usize) -> bool {
        m + 1 == n && matches!(self.is(m), Some(Is::Inside(true) | Is::Loose(_) | Is::Compare(_)))
    }
}

pub(super) fn read(facts: &Facts, chosen: &BTreeMap<Name, Finite>, text: &str, checks: &mut Vec<Check>) {
    let mut speech = Speech {
        facts,
        chosen,
        text,
        checks,
        mentioned: BTreeSet::new(),
        carry: None,
        group: None,
        verb: None,
    };
    let all = sentences(text, &facts.terms);
    let rest_held = all.iter().flatten().any(|c| {
        let has = |is: Is| c.items.iter().any(|i| i.is == is);
        has(Is::Rest) && has(Is::Hold) && !c.items.iter().any(|i| matches!(i.is, Is::Subject(_)))
    });
    for sentence in &all {
        speech.sentence(sentence);
    }
    if rest_held {
        speech.rest_is_held();
    }
}

impl Speech<'_> {
    fn sentence(&mut self, sentence: &Sentence) {
        self.carry = None;
        self.group = None;
        self.verb = None;
        for clause in sentence {
            self.clause(clause);
        }
    }

    fn clause(&mut self, clause: &Clause) {
        let claims = |is: &Is| {
            !matches!(
                is,
                Is::Subject(_)
                    | Is::Not
                    | Is::Past
                    | Is::Future
                    | Is::Prep(_)
                    | Is::Rest
                    | Is::Margin
                    | Is::Limit(..)
            )
        };
        if let Some(not) = clause.items.iter().find(|i| i.is == Is::Not)
            && clause.items.iter().any(|i| claims(&i.is))
        {
            let whole =
                not.span.start..clause.items.last().map_or(not.span.end, |i| i.span.end.max(not.span.end));
            self.check(
                Claim::Unclear,
                whole,
                Err("a negated claim cannot be checked: say what is".to_owned()),
            );
        }
        let mut scene = Scene {
            clause,
            topics: clause
                .items
                .iter()
                .map(|i| if let Is::Subject(s) = &i.is { Some(Topic::of(s)) } else { None })
                .collect(),
            crossing: BTreeSet::new(),
            used: BTreeSet::new(),
            bounds: BTreeSet::new(),
        };
        self.rankings(&mut scene);
        let group = scene.topics.iter().rev().flatten().next().cloned();
        self.named_by_value(&mut scene);
        self.comparisons(&mut scene);
        self.directions(&scene);
        self.numbers(&scene);
        let margin = scene.any(|is| *is == Is::Margin);
        if let Some(topic) = scene.topics.iter().rev().flatten().next() {
            self.carry = Some((topic.clone(), margin));
        } else if margin && let Some((_, of_margin)) = &mut self.carry {
            *of_margin = true;
        }
        self.group = group.or(self.group.take());
    }

    /// "Inlet 26.1 and rising" speaks of the inlet that is at 26.1: narrows a group to those at the value
    /// that follows it, also when it follows in a clause of its own.
    fn named_by_value(&mut self, scene: &mut Scene<'_>) {
        let items = &scene.clause.items;
        let value_at = |n: usize| match (items.get(n).map(|i| &i.is), items.get(n + 1).map(|i| &i.is)) {
            (Some(Is::Prep(Prep::Of)), Some(Is::Number(v))) | (Some(Is::Number(v)), _) => Some(*v),
            _ => None,
        };
        let at_value = |topic: &Topic, number: Number| {
            let is_at = |s: &&SignalFacts| {
                let (Some(v), Some(said)) = (s.value, number.as_level(s.unit)) else { return false };
                close(said, v.get(), s.unit.decimals())
            };
            let named: Vec<Name> = self.signals(topic).filter(is_at).map(|s| s.name.clone()).collect();
            (topic.signals.len() > 1 && !named.is_empty())
                .then(|| Topic { signals: named, setpoints: topic.setpoints.clone() })
        };
        let narrowed: Vec<Option<Topic>> = scene
            .topics
            .iter()
            .enumerate()
            .map(|(n, topic)| {
                topic.as_ref().and_then(|t| at_value(t, value_at(n + 1)?).or_else(|| Some(t.clone())))
            })
            .collect();
        let carried = match (&self.carry, value_at(0)) {
            (Some((topic, margin)), Some(number)) => at_value(topic, number).map(|t| (t, *margin)),
            _ => None,
        };
        for (slot, topic) in scene.topics.iter_mut().zip(narrowed) {
            if topic.is_some() {
                *slot = topic;
            }
        }
        if carried.is_some() {
            self.carry = carried;
        }
    }

    pub(super) fn check(&mut self, kind: Claim, span: std::ops::Range<usize>, result: Result<(), String>) {
        let claim = self.text.get(span).unwrap_or_default().to_owned();
        let (holds, found) = match result {
            Ok(()) => (true, String::new()),
            Err(found) => (false, found),
        };
        self.checks.push(Check { kind, claim, holds, found });
    }

    /// The words from one item to another.
    pub(super) fn span(scene: &Scene<'_>, from: usize, to: usize) -> std::ops::Range<usize> {
        let start = scene.clause.items.get(from).map_or(0, |i| i.span.start);
        let end = scene.clause.items.get(to).map_or(start, |i| i.span.end);
        start..end
    }

    pub(super) fn signals<'s>(&'s self, topic: &'s Topic) -> impl Iterator<Item = &'s SignalFacts> {
        topic.signals.iter().filter_map(|n| self.facts.signal(n))
    }

    pub(super) fn setpoints<'s>(&'s self, topic: &'s Topic) -> impl Iterator<Item = &'s SetpointFacts> {
        topic.setpoints.iter().filter_map(|n| self.facts.setpoint(n))
    }

    /// How far a setpoint moves; `None` while its present value is not known.
    pub(super) fn moved(&self, s: &SetpointFacts) -> Option<f64> {
        Some(self.chosen.get(&s.name)?.rounded(s.decimals).get() - s.present?.get())
    }

    /// "Hold the rest": all that no verb has moved.
    fn rest_is_held(&mut self) {
        let moved: Vec<String> = self
            .facts
            .setpoints
            .iter()
            .filter(|s| !self.mentioned.contains(&s.name))
            .filter(|s| self.moved(s).is_none_or(|m| m.abs() > 1e-9))
            .map(|s| s.name.to_string())
            .collect();
        let result = if moved.is_empty() { Ok(()) } else { Err(format!("{} moves", moved.join(", "))) };
        self.check(Claim::Move, 0..self.text.len(), result);
    }
}

/// Whether a form can speak of a setpoint that a verb takes as its object.
pub(super) fn moves(form: Form) -> bool {
    matches!(form, Form::Move | Form::Either)
}
