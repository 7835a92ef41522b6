//! The facts as the template sees them: short strings, ready to be laid out.

use serde::Serialize;

use crate::decision::Trend;
use crate::directive::{Directive, bound_text};
use crate::facts::{Bound, Facts, SetpointFacts, Shown, Side, SignalFacts, clock};
use crate::history::{Cell, Row};
use crate::site::{Backend, Cools, Name, Role, Site};
use crate::twin::{HORIZONS_MIN, Row as Ahead};
use crate::units::{Finite, Unit};
use crate::workload::Job;

/// The window, in minutes, whose change is shown beside each value.
const CHANGE_MIN: u32 = 10;
/// What the history shows, in this order, one of each; the rest can be seen in the frame.
const COLUMNS: [Role; 4] = [Role::ItInlet, Role::LiquidSupply, Role::Bath, Role::ItLoad];
/// What bears on a decision; other signals are told of only when they are not good.
const TOLD: [Role; 10] = [
    Role::ItInlet,
    Role::Chws,
    Role::LiquidSupply,
    Role::Bath,
    Role::ChipTemp,
    Role::ItLoad,
    Role::OutdoorWetBulb,
    Role::ValvePosition,
    Role::CoolingPower,
    Role::LoadAhead,
];
/// Tokens that a cell and a row's time take: every digit and mark is one.
const CELL_TOKENS: usize = 5;
const ROW_TOKENS: usize = 8;

#[derive(Serialize)]
pub(super) struct View<'a> {
    site: &'a Name,
    plant: &'static str,
    /// Whether the text goes to the model as it is, and so must carry the chat's marks itself.
    markup: bool,
    time: String,
    window: u32,
    signals: Vec<SignalView<'a>>,
    /// Names of signals without a good value.
    blind: Vec<&'a Name>,
    setpoints: Vec<SetpointView<'a>>,
    columns: Vec<&'a Name>,
    history: Vec<RowView>,
    margin: Option<MarginView<'a>>,
    ahead: Option<AheadView<'a>>,
    jobs: Vec<JobView<'a>>,
    directives: Vec<String>,
}

#[derive(Serialize)]
struct SignalView<'a> {
    name: &'a Name,
    unit: &'static str,
    /// `18..27`, or empty.
    limits: String,
    /// `-` when there is no good value.
    value: String,
    trend: &'static str,
    /// `+0.6`, or empty for a steady signal.
    change: String,
}

#[derive(Serialize)]
struct SetpointView<'a> {
    name: &'a Name,
    unit: &'static str,
    range: String,
    step: String,
    safe: String,
    /// `down` when lower is colder.
    colder: &'static str,
    present: String,
}

#[derive(Serialize)]
struct RowView {
    time: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
struct MarginView<'a> {
    signal: &'a Name,
    value: String,
    /// `under 48`: the side of the limit and the limit.
    of: String,
}

/// An announced job.
#[derive(Serialize)]
struct JobView<'a> {
    kw: String,
    start: String,
    place: Option<&'a Name>,
}

/// What comes of each choice at the last horizon: the signal that will come closest to its limits, and the
/// cooling power if it can be predicted.
#[derive(Serialize)]
struct AheadView<'a> {
    signal: &'a Name,
    minutes: u32,
    power: Option<&'a Name>,
    sigma: String,
    choices: Vec<ChoiceView<'a>>,
}

#[derive(Serialize)]
struct ChoiceView<'a> {
    /// The optimizer would take it.
    best: bool,
    /// Empty for staying.
    moves: Vec<MoveView<'a>>,
    value: String,
    power: Option<String>,
}

#[derive(Serialize)]
struct MoveView<'a> {
    /// `raise` or `lower`: small models copy better than they compare.
    verb: &'static str,
    setpoint: &'a Name,
    to: String,
}

impl<'a> View<'a> {
    pub(super) fn new(shown: &Shown<'a>, facts: &'a Facts, history_tokens: u32) -> Self {
        let site = shown.site;
        let columns = columns(site);
        let rows = usize::try_from(history_tokens).unwrap_or(usize::MAX)
            / (columns.len() * CELL_TOKENS + ROW_TOKENS);
        let names: Vec<Name> = columns.iter().map(|n| (*n).clone()).collect();
        Self {
            site: &site.name,
            plant: site.plant.as_str(),
            markup: site.model.backend == Backend::Local,
            time: time(shown.now, site),
            window: CHANGE_MIN,
            signals: facts.signals.iter().filter(|s| told(s)).map(signal).collect(),
            blind: facts.signals.iter().filter(|s| s.value.is_none()).map(|s| &s.name).collect(),
            setpoints: facts.setpoints.iter().map(setpoint).collect(),
            columns,
            history: shown.history.rows(&names, rows).iter().map(|r| row(r, site)).collect(),
            margin: facts.tightest().map(|(s, bound, m)| margin(s, bound, m)),
            ahead: ahead(facts),
            jobs: facts.jobs.iter().map(|j| job(j, site)).collect(),
            directives: shown.directives.iter().map(|d| directive(d, site)).collect(),
        }
    }
}

fn margin(s: &SignalFacts, bound: Bound, margin: Finite) -> MarginView<'_> {
    let side = match bound.side {
        Side::High => "under",
        Side::Low => "over",
    };
    MarginView {
        signal: &s.name,
        value: decimals(margin, s.unit.decimals()),
        of: format!("{side} {}", bound.value),
    }
}

fn job<'a>(j: &'a Job, site: &Site) -> JobView<'a> {
    JobView {
        kw: decimals(j.kw, Unit::Kilowatt.decimals()),
        start: time(j.start, site),
        place: j.place.as_ref(),
    }
}

fn told(s: &SignalFacts) -> bool {
    s.role.is_some_and(|role| TOLD.contains(&role)) || s.operating().next().is_some()
}

fn columns(site: &Site) -> Vec<&Name> {
    COLUMNS.iter().flat_map(|role| site.with_role(*role).take(1)).map(|s| &s.name).collect()
}

fn time(at: jiff::Timestamp, site: &Site) -> String {
    let (hour, minute) = clock(at, site);
    format!("{hour:02}:{minute:02}")
}

fn decimals(value: Finite, decimals: u8) -> String {
    format!("{:.*}", usize::from(decimals), value.get())
}

fn signal(s: &SignalFacts) -> SignalView<'_> {
    let places = s.unit.decimals();
    let change = s.changes.get(&CHANGE_MIN).map(|c| c.delta().rounded(places));
    let end = |side| {
        s.operating().find(|b| b.side == side).map(|b: &Bound| b.value.to_string()).unwrap_or_default()
    };
    let (low, high) = (end(Side::Low), end(Side::High));
    SignalView {
        name: &s.name,
        unit: s.unit.as_str(),
        limits: if low.is_empty() && high.is_empty() { String::new() } else { format!("{low}..{high}") },
        value: s.value.map_or_else(|| "-".to_owned(), |v| decimals(v, places)),
        trend: if s.value.is_some() { s.trend.as_str() } else { "" },
        change: change
            .filter(|c| *c != Finite::ZERO && s.trend != Trend::Steady)
            .map_or_else(String::new, |c| format!("{:+.*}", usize::from(places), c.get())),
    }
}

fn setpoint(s: &SetpointFacts) -> SetpointView<'_> {
    SetpointView {
        name: &s.name,
        unit: s.unit.as_str(),
        range: format!("{}..{}", s.min, s.max),
        step: s.step.to_string(),
        safe: s.safe.to_string(),
        colder: match s.cools {
            Cools::Down => "down",
            Cools::Up => "up",
        },
        present: s.present.map_or_else(|| "-".to_owned(), |v| v.to_string()),
    }
}

fn row(row: &Row, site: &Site) -> RowView {
    let cell = |c: &Option<Cell>| match c {
        None => "-".to_owned(),
        Some(c) => {
            let mean = decimals(c.mean, c.unit.decimals());
            c.peak().map_or_else(|| mean.clone(), |p| format!("{mean}/{}", decimals(p, c.unit.decimals())))
        }
    };
    RowView { time: time(row.from, site), cells: row.cells.iter().map(cell).collect() }
}

fn ahead(facts: &Facts) -> Option<AheadView<'_>> {
    let rows = &facts.outlook.rows;
    let hold = rows.first().filter(|r| r.moves.is_empty())?;
    let last = HORIZONS_MIN.len() - 1;
    let focus = facts.tightest_ahead()?;
    let power =
        facts.signals.iter().find(|s| s.role == Some(Role::CoolingPower) && hold.ahead.contains_key(&s.name));
    let value = |r: &Ahead, s: &SignalFacts| {
        Some(decimals(r.ahead.get(&s.name)?.get(last)?.value, s.unit.decimals()))
    };
    let choice = |(index, r): (usize, &Ahead)| {
        let moves = facts.setpoints.iter().filter_map(|s| {
            let to = r.moves.get(&s.name)?;
            let verb = if Some(*to) > s.present { "raise" } else { "lower" };
            Some(MoveView { verb, setpoint: &s.name, to: s.shown(*to).to_string() })
        });
        Some(ChoiceView {
            best: facts.outlook.best == Some(index),
            moves: moves.collect(),
            value: value(r, focus)?,
            power: power.and_then(|p| value(r, p)),
        })
    };
    let sigma = hold.ahead.get(&focus.name)?.get(last)?.sigma;
    Some(AheadView {
        signal: &focus.name,
        minutes: *HORIZONS_MIN.get(last)?,
        power: power.map(|p| &p.name),
        sigma: decimals(sigma, focus.unit.decimals()),
        choices: rows.iter().enumerate().filter_map(choice).collect(),
    })
}

/// What the guard enforces in one form, words for the model as they are.
fn directive(d: &Directive, site: &Site) -> String {
    let what = if d.limits.is_empty() {
        d.text.clone()
    } else {
        d.limits.iter().map(bound_text).collect::<Vec<_>>().join("; ")
    };
    match d.until {
        Some(until) => format!("{what} until {}", time(until, site)),
        None => what,
    }
}
