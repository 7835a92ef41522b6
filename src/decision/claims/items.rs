//! The parts of a sentence that can make a claim, clause by clause.

use std::ops::Range;

use crate::facts::{BoundKind, Side};
use crate::prose::{self, Kind, Number};
use crate::site::terms::{Subject, Terms};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Up,
    Down,
}

/// What a word of direction can speak of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Only of moving a setpoint: lower, raise.
    Move,
    /// Only of what a value does: rising, fell.
    Trend,
    /// Of either: increase, drop, up, down.
    Either,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Above,
    AtLeast,
    Below,
    AtMost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rank {
    Highest,
    Lowest,
    /// Hottest, coldest: only of temperatures.
    Hottest,
    Coldest,
    /// The hottest, or the smallest margin.
    Worst,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prep {
    By,
    To,
    From,
    Of,
    In,
    For,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Is {
    Subject(Vec<Subject>),
    Number(Number),
    Clock(i8, i8),
    Odd,
    Way(Way, Form),
    Steady,
    Hold,
    /// More or less cooling, by whatever setpoint.
    Cooling(bool),
    /// Nothing becomes colder, or warmer.
    No {
        colder: bool,
    },
    Compare(Op),
    /// `over`, `under`: a comparison before a number or a limit, a preposition before anything else.
    Loose(Op),
    Inside(bool),
    Limit(Option<Side>, Option<BoundKind>),
    Margin,
    Rank(Rank),
    Not,
    Past,
    Future,
    Prep(Prep),
    /// All setpoints, or all others.
    Rest,
    /// The word "setpoint".
    Setpoint,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Item {
    pub(super) is: Is,
    pub(super) span: Range<usize>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Clause {
    pub(super) items: Vec<Item>,
    /// Joined to the clause before by a comma or "and".
    pub(super) listed: bool,
}

pub(super) type Sentence = Vec<Clause>;

impl Is {
    pub(super) fn is_time(&self) -> bool {
        matches!(self, Self::Number(n) if n.as_minutes().is_some())
    }

    /// A number that is not a span of time.
    pub(super) fn is_amount(&self) -> bool {
        matches!(self, Self::Number(n) if n.as_minutes().is_none())
    }
}

const LISTING: [&str; 3] = ["and", "or", "plus"];
const JOINING: [&str; 20] = [
    "but",
    "while",
    "because",
    "since",
    "so",
    "although",
    "though",
    "whereas",
    "if",
    "when",
    "then",
    "which",
    "with",
    "as",
    "until",
    "before",
    "after",
    "otherwise",
    "where",
    "that",
];

/// Sentences of a text, without what makes no claim.
pub(super) fn sentences(text: &str, terms: &Terms) -> Vec<Sentence> {
    let tokens = prose::read(text);
    let words: Vec<&str> =
        tokens.iter().map(|t| if let Kind::Word(w) = &t.kind { w.as_str() } else { "" }).collect();
    let mut all = vec![vec![Clause::default()]];
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let rest = words.get(at..).unwrap_or_default();
        let mut len = 1;
        let mut is = None;
        match &token.kind {
            Kind::Stop => all.push(vec![Clause::default()]),
            Kind::Pause(mark) => new_clause(&mut all, *mark == ','),
            Kind::Number(n) => is = Some(Is::Number(*n)),
            Kind::Clock { hour, minute } => is = Some(Is::Clock(*hour, *minute)),
            Kind::Odd => is = Some(Is::Odd),
            Kind::Sign(sign) => is = Some(Is::Compare(op_of(sign))),
            Kind::Word(word) => {
                let term = terms.find(rest);
                let phrase = phrase(rest);
                match (term, phrase) {
                    (Some((n, subjects)), found) if found.as_ref().is_none_or(|(m, _)| n >= *m) => {
                        len = n;
                        is = Some(Is::Subject(subjects.iter().cloned().collect()));
                    }
                    (_, Some((n, found))) => {
                        len = n;
                        is = Some(found);
                    }
                    // Not a name of this site: whatever number is in it is not checked elsewhere.
                    _ if word.chars().any(char::is_numeric) => is = Some(Is::Odd),
                    _ if LISTING.contains(&word.as_str()) => new_clause(&mut all, true),
                    _ if JOINING.contains(&word.as_str()) => new_clause(&mut all, false),
                    _ => {}
                }
            }
        }
        let end = tokens.get(at + len - 1).map_or(token.span.end, |t| t.span.end);
        if let (Some(is), Some(clause)) = (is, all.last_mut().and_then(|s| s.last_mut())) {
            clause.items.push(Item { is, span: token.span.start..end });
        }
        at += len;
    }
    all
}

fn new_clause(all: &mut [Sentence], listed: bool) {
    if let Some(sentence) = all.last_mut()
        && sentence.last().is_some_and(|c| !c.items.is_empty())
    {
        sentence.push(Clause { items: Vec::new(), listed });
    } else if let Some(clause) = all.last_mut().and_then(|s| s.last_mut()) {
        clause.listed &= listed;
    }
}

fn op_of(sign: &str) -> Op {
    match sign {
        ">" => Op::Above,
        ">=" => Op::AtLeast,
        "<" => Op::Below,
        _ => Op::AtMost,
    }
}

/// The longest phrase of the lexicon that `words` begins with.
fn phrase(words: &[&str]) -> Option<(usize, Is)> {
    (1..=words.len().min(4)).rev().find_map(|n| {
        let text = words.get(..n)?.join(" ");
        lookup(&text).map(|is| (n, is))
    })
}

fn lookup(text: &str) -> Option<Is> {
    use BoundKind::{Allowable, Operating, Ordered};
    use Side::{High, Low};
    Some(match text {
        "lower" | "lowers" | "lowered" | "lowering" => Is::Way(Way::Down, Form::Move),
        "raise" | "raises" | "raised" | "raising" | "lift" | "lifts" | "lifted" | "boost" | "boosts" => {
            Is::Way(Way::Up, Form::Move)
        }
        "reduce" | "reduces" | "reduced" | "reducing" | "decrease" | "decreases" | "decreased"
        | "decreasing" | "cut" | "cuts" | "cutting" | "drop" | "drops" | "dropped" | "dropping" | "down"
        | "cooler" | "colder" | "cool" => Is::Way(Way::Down, Form::Either),
        "increase" | "increases" | "increased" | "increasing" | "up" | "warmer" | "warm" | "higher"
        | "hotter" => Is::Way(Way::Up, Form::Either),
        "rising" | "rises" | "rise" | "rose" | "risen" | "climbing" | "climbs" | "climb" | "climbed"
        | "growing" | "grows" | "grew" | "warming" | "gaining" | "gains" | "gained" | "jumped" | "jumps"
        | "surged" | "spiked" => Is::Way(Way::Up, Form::Trend),
        "falling" | "falls" | "fall" | "fell" | "fallen" | "declining" | "declines" | "shrinking"
        | "shrinks" | "shrank" | "is cooling" | "are cooling" | "cooling down" | "loses" | "lost"
        | "dips" | "dipped" | "sinks" | "sank" => Is::Way(Way::Down, Form::Trend),
        "steady" | "stable" | "flat" | "constant" | "level" => Is::Steady,
        "hold" | "holds" | "holding" | "held" | "keep" | "keeps" | "keeping" | "kept" | "maintain"
        | "maintains" | "maintaining" | "maintained" | "leave" | "leaves" | "leaving" | "no change"
        | "no changes" | "no move" | "no moves" | "without change" | "unchanged" | "stay" | "stays"
        | "staying" | "remain" | "remains" | "remaining" => Is::Hold,
        "more cooling" | "cool more" | "extra cooling" | "add cooling" => Is::Cooling(true),
        "less cooling" | "cool less" | "reduce cooling" => Is::Cooling(false),
        "above" | "exceed" | "exceeds" | "exceeded" | "exceeding" | "more than" | "greater than"
        | "higher than" | "warmer than" | "hotter than" => Is::Compare(Op::Above),
        "no colder" | "no cooler" | "no more cooling" => Is::No { colder: true },
        "no warmer" | "no hotter" | "no less cooling" => Is::No { colder: false },
        "at least" | "no lower than" | "not below" | "at or above" | "no less than" | "not lower than"
        | "no colder than" | "no cooler than" => Is::Compare(Op::AtLeast),
        "below" | "beneath" | "less than" | "lower than" | "cooler than" | "colder than" | "short of" => {
            Is::Compare(Op::Below)
        }
        "at most" | "no higher than" | "no more than" | "not above" | "at or below" | "not higher than"
        | "no warmer than" | "no hotter than" => Is::Compare(Op::AtMost),
        "over" | "beyond" => Is::Loose(Op::Above),
        "under" => Is::Loose(Op::Below),
        "within" | "inside" => Is::Inside(true),
        "outside" | "out of" => Is::Inside(false),
        "limit" | "limits" | "band" | "bands" | "range" | "recommended" | "recommended limit"
        | "recommended band" | "recommended range" => Is::Limit(None, Some(Operating)),
        "upper limit" | "high limit" | "top of the band" | "ceiling" => Is::Limit(Some(High), None),
        "lower limit" | "low limit" | "floor" => Is::Limit(Some(Low), None),
        "allowable" | "allowable limit" | "allowable band" | "emergency limit" => {
            Is::Limit(None, Some(Allowable))
        }
        "directive" | "directives" | "operator" | "order" | "ordered" => Is::Limit(None, Some(Ordered)),
        "margin" | "margins" | "headroom" => Is::Margin,
        "highest" | "largest" | "greatest" | "biggest" | "peak" | "max" | "maximum" => {
            Is::Rank(Rank::Highest)
        }
        "lowest" | "smallest" | "tightest" | "minimum" => Is::Rank(Rank::Lowest),
        "hottest" | "warmest" => Is::Rank(Rank::Hottest),
        "coldest" | "coolest" => Is::Rank(Rank::Coldest),
        "worst" => Is::Rank(Rank::Worst),
        "not" | "no" | "never" | "without" | "neither" | "nor" | "none" | "cannot" | "hardly" | "barely"
        | "instead of" | "rather than" | "isn't" | "aren't" | "don't" | "doesn't" | "won't" | "can't"
        | "wasn't" | "isn’t" | "don’t" | "doesn’t" | "won’t" | "can’t" => Is::Not,
        "ago" | "was" | "were" | "earlier" | "last" | "past" | "previous" | "previously" => Is::Past,
        "will" | "would" | "reach" | "reaches" | "reaching" | "forecast" | "predicted" | "expected"
        | "projected" | "ahead" | "next" => Is::Future,
        "by" => Is::Prep(Prep::By),
        "to" => Is::Prep(Prep::To),
        "from" => Is::Prep(Prep::From),
        "of" | "at" | "is" => Is::Prep(Prep::Of),
        "in" => Is::Prep(Prep::In),
        "for" => Is::Prep(Prep::For),
        "setpoint" | "set point" => Is::Setpoint,
        "rest" | "others" | "all" | "everything" | "setpoints" | "all setpoints" | "the rest" => Is::Rest,
        _ => return None,
    })
}
