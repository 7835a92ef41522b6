//! Reasons made from facts, and the same reasons with one thing wrong.

use proptest::prelude::*;

use super::*;
use crate::facts::SignalFacts;
use crate::twin::HORIZONS_MIN;

/// A piece of a reason: plain text, or something that can be wrong.
#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Number(f64, u8),
    Word(String, Vec<String>),
}

fn text(s: impl Into<String>) -> Piece {
    Piece::Text(s.into())
}

fn word(right: &str, all: &[&str]) -> Piece {
    let wrong = all.iter().filter(|w| **w != right).map(|w| (*w).to_owned()).collect();
    Piece::Word(right.to_owned(), wrong)
}

fn number(v: Finite, decimals: u8) -> Piece {
    Piece::Number(v.get(), decimals)
}

#[derive(Clone, Debug)]
struct World {
    inlets: [f64; 2],
    slope: f64,
    load_step: f64,
    ahead: [f64; 3],
    steps: [i8; 3],
}

fn world() -> impl Strategy<Value = World> {
    let inlets = (20.0..30.0f64, 18.0..30.0f64);
    (
        inlets,
        -0.08..0.08f64,
        -300.0..300.0f64,
        [18.0..32.0f64, 18.0..32.0, 18.0..32.0],
        [-4i8..5, -4..5, -4..5],
    )
        .prop_map(|((a, b), slope, load_step, ahead, steps)| World {
            inlets: [a, b],
            slope,
            load_step,
            ahead,
            steps,
        })
}

fn facts(w: &World) -> Facts {
    let site = example::site();
    let mut history = History::new(&site);
    let at = |m: f64| {
        let inlet = w.inlets[0] + w.slope * (m - 60.0);
        let load = 800.0 + w.load_step * ((m - 50.0) / 10.0).clamp(0.0, 1.0);
        [("hall_a_inlet_max", inlet), ("hall_b_inlet_max", w.inlets[1]), ("it_load", load)]
    };
    for i in 0..=120 {
        history.push(&example::frame(i * 30, &at(i as f64 / 2.0)));
    }
    let frame = example::frame(3600, &at(60.0));
    let hold =
        Row { moves: BTreeMap::new(), ahead: BTreeMap::from([(name("hall_a_inlet_max"), ahead(w.ahead))]) };
    let outlook = Outlook { rows: vec![hold], best: None, unidentified: Vec::new() };
    let shown = Shown {
        site: &site,
        now: frame.time,
        frame: &frame,
        history: &history,
        outlook: &outlook,
        directives: &[],
    };
    Facts::new(&shown)
}

fn chosen(facts: &Facts, w: &World) -> Decision {
    let mut d = decision("");
    d.evidence.clear();
    for (s, steps) in facts.setpoints.iter().zip(w.steps) {
        let to = s.present.unwrap().plus(f64::from(steps) * s.step.get());
        d.setpoints.insert(s.name.clone(), to);
    }
    d
}

fn any_word() -> impl Strategy<Value = String> {
    let words = [
        "inlet",
        "CHWS",
        "chws_sp",
        "it_load",
        "hall",
        "hottest",
        "lowest",
        "margin",
        "limit",
        "within",
        "above",
        "below",
        "over",
        "lower",
        "raise",
        "hold",
        "up",
        "rising",
        "steady",
        "by",
        "to",
        "from",
        "of",
        "in",
        "not",
        "will",
        "and",
        "because",
        ",",
        ".",
        "27",
        "26.1",
        "0.5 K",
        "15 min",
        "18 %",
        "14:00",
        "4711",
        "47.11",
        "-1",
        "the rest",
        "setpoint",
        "more cooling",
        "operator",
        "at least",
        "two steps",
        "K",
        "min",
        "maximum",
    ];
    prop::sample::select(words.to_vec()).prop_map(ToOwned::to_owned)
}

/// Everything true that this test knows how to say.
fn reasons(facts: &Facts, d: &Decision) -> Vec<Vec<Piece>> {
    let mut all = Vec::new();
    let inlets: Vec<&SignalFacts> = facts.signals.iter().filter(|s| s.bounds.len() > 2).collect();
    for s in &facts.signals {
        let (Some(v), places) = (s.value, s.unit.decimals()) else { continue };
        let trend = word(s.trend.as_str(), &["rising", "falling", "steady"]);
        all.push(vec![text(format!("{} ", s.name)), number(v, places), text(" and "), trend]);
        for (minutes, c) in &s.changes {
            let way = if c.delta() > Finite::ZERO { "up" } else { "down" };
            let size = Finite::constant(c.delta().get().abs());
            let said = [text(format!("{} ", s.name)), word(way, &["up", "down"]), text(" ")];
            let time = text(format!(" in {minutes} min"));
            if size > Finite::ZERO {
                let unit = text(if places == 1 { " K".to_owned() } else { format!(" {}", s.unit) });
                all.push(said.iter().cloned().chain([number(size, places), unit, time.clone()]).collect());
            }
            if let Some(p) =
                c.percent().map(|p| Finite::constant(p.get().abs()).rounded(0)).filter(|p| *p > Finite::ZERO)
            {
                all.push(said.iter().cloned().chain([number(p, 0), text(" %"), time]).collect());
            }
        }
        if let Some((bound, margin)) = s.margin() {
            all.push(vec![text(format!("{} margin ", s.name)), number(margin, places), text(" K")]);
            all.push(vec![text(format!("{} limit ", s.name)), number(bound.value, 0)]);
            let (op, other) =
                if v.get() > bound.value.get() { ("above", "below") } else { ("below", "above") };
            if v != bound.value {
                all.push(vec![
                    text(format!("{} ", s.name)),
                    word(op, &[op, other]),
                    text(format!(" {}", bound.value)),
                ]);
            }
            if places == 1 {
                all.push(vec![
                    text(format!("{} above ", s.name)),
                    Piece::Number((v.get() - 0.05).floor(), 0),
                ]);
            }
        }
    }
    let hottest = inlets.iter().max_by_key(|s| s.value).unwrap();
    all.push(vec![text("hottest inlet "), number(hottest.value.unwrap(), 1)]);
    if inlets[0].value != inlets[1].value {
        let names: Vec<&str> = inlets.iter().map(|s| s.name.as_str()).collect();
        all.push(vec![word(hottest.name.as_str(), &names), text(" is the hottest inlet")]);
    }
    for (h, a) in HORIZONS_MIN.iter().zip(facts.outlook.rows[0].ahead[&name("hall_a_inlet_max")]) {
        all.push(vec![text("hall_a_inlet_max reaches "), number(a.value, 1), text(format!(" in {h} min"))]);
    }
    for s in &facts.setpoints {
        let (from, to) = (s.present.unwrap(), d.setpoints[&s.name]);
        let by = to.get() - from.get();
        let verb = if by > 0.0 {
            "raise"
        } else if by < 0.0 {
            "lower"
        } else {
            "hold"
        };
        let verb = word(verb, &["raise", "lower", "hold"]);
        let unit = if s.unit == crate::units::Unit::DegC { "K".to_owned() } else { s.unit.to_string() };
        if by.abs() > 0.0 {
            let size = number(Finite::constant(by.abs()), s.decimals);
            all.push(vec![verb.clone(), text(format!(" {} by ", s.name)), size, text(format!(" {unit}"))]);
        }
        all.push(vec![verb, text(format!(" {}", s.name))]);
        all.push(vec![text(format!("{} goes to ", s.name)), number(to, s.decimals)]);
    }
    all
}

/// The reason, with piece `wrong` changed by `by`.
fn say(pieces: &[Piece], wrong: Option<(usize, i32)>) -> String {
    let one = |(i, piece): (usize, &Piece)| {
        let by = wrong.filter(|(at, _)| *at == i).map_or(0, |(_, by)| by);
        match piece {
            Piece::Text(t) => t.clone(),
            Piece::Number(v, d) => {
                let moved = v + f64::from(by) * 10f64.powi(-i32::from(*d));
                format!("{moved:.*}", usize::from(*d))
            }
            Piece::Word(right, _) if by == 0 => right.clone(),
            Piece::Word(_, others) => others[by.unsigned_abs() as usize % others.len()].clone(),
        }
    };
    pieces.iter().enumerate().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// Whatever is said from the facts holds, alone and together.
    #[test]
    fn true_reasons_verify(w in world(), picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let facts = facts(&w);
        let mut d = chosen(&facts, &w);
        let reasons = reasons(&facts, &d);
        for reason in &reasons {
            d.rationale = say(reason, None);
            let claims = check(&facts, &d);
            prop_assert!(claims.verified, "{}: {:?}", d.rationale, claims.failing());
            prop_assert!(!claims.checks.is_empty(), "{} claims nothing", d.rationale);
        }
        let together: Vec<String> = picks.iter().map(|i| say(&reasons[i.index(reasons.len())], None)).collect();
        d.rationale = together.join("; ");
        let claims = check(&facts, &d);
        prop_assert!(claims.verified, "{}: {:?}", d.rationale, claims.failing());
    }

    /// One number, direction, trend or name wrong, and the reason is no longer evidence.
    #[test]
    fn one_thing_wrong_fails(w in world(), by in (1i32..40).prop_flat_map(|n| prop_oneof![Just(n), Just(-n)])) {
        let facts = facts(&w);
        let mut d = chosen(&facts, &w);
        let mut tried = 0;
        for reason in reasons(&facts, &d) {
            for at in 0..reason.len() {
                if matches!(&reason[at], Piece::Text(_)) || still_true(&facts, &d, &reason, at, by) {
                    continue;
                }
                tried += 1;
                d.rationale = say(&reason, Some((at, by)));
                prop_assert!(!check(&facts, &d).verified, "{} (from {})", d.rationale, say(&reason, None));
            }
        }
        prop_assert!(tried > 20, "{tried} perturbations only");
    }

    /// Whatever the model writes is read without a panic, and no number in it goes unchecked.
    #[test]
    fn any_text_can_be_read(words in prop::collection::vec(any_word(), 0..14), odd in "\\PC{0,12}") {
        let facts = super::facts();
        let mut d = decision(&format!("{} {odd}", words.join(" ")));
        prop_assert!(check(&facts, &d).checks.len() < 60);
        d.rationale = words.join(" ");
        let claims = check(&facts, &d);
        if words.iter().any(|w| w == "4711" || w == "47.11") {
            prop_assert!(!claims.verified, "{}: {:?}", d.rationale, claims.checks);
        }
    }

    /// The same words with the setpoint moved the other way are false.
    #[test]
    fn other_moves_make_verbs_false(w in world(), which in 0usize..3) {
        let facts = facts(&w);
        let mut d = chosen(&facts, &w);
        let s = &facts.setpoints[which];
        let verb = reasons(&facts, &d).into_iter().map(|r| say(&r, None)).filter(|t| {
            let t = t.strip_suffix(s.name.as_str()).unwrap_or_default();
            matches!(t, "raise " | "lower " | "hold ")
        });
        d.rationale = verb.collect::<Vec<_>>().pop().unwrap();
        prop_assert!(check(&facts, &d).verified);
        let present = s.present.unwrap();
        let moved = d.setpoints[&s.name].get() - present.get();
        let other = if moved.abs() > 0.0 { -moved } else { s.step.get() };
        d.setpoints.insert(s.name.clone(), present.plus(other));
        prop_assert!(!check(&facts, &d).verified, "{} with {other}", d.rationale);
    }
}

/// A number that is another fact of the same thing may pass, as it should: a setpoint "goes to" where
/// it is, 27 is as much a limit of the inlet as 18.
fn still_true(facts: &Facts, d: &Decision, reason: &[Piece], at: usize, by: i32) -> bool {
    let Piece::Number(v, decimals) = reason[at] else { return false };
    let said = v + f64::from(by) * 10f64.powi(-i32::from(decimals));
    let plain = say(reason, None);
    let near = |x: f64| (x - said).abs() <= 0.5 * 10f64.powi(-i32::from(decimals)) + 1e-6;
    let of_setpoint = facts.setpoints.iter().filter(|s| plain.contains(s.name.as_str()));
    let mut places = of_setpoint.flat_map(|s| [s.present.unwrap().get(), d.setpoints[&s.name].get()]);
    let of_signal = facts.signals.iter().filter(|s| plain.contains(s.name.as_str()));
    let mut limits = of_signal.flat_map(|s| s.bounds.iter().map(|b| b.value.get()));
    // "Lower by -1.5 K" says the same as "lower by 1.5 K".
    let doubly_down = near(-v) && (plain.contains(" down ") || plain.starts_with("lower "));
    doubly_down
        || plain.contains(" goes to ") && places.any(near)
        || plain.contains(" limit ") && limits.any(near)
        // "above" a lower limit of the same inlet is as true.
        || plain.contains(" above ") && limits_below(facts, &plain).iter().any(|l| near(*l))
}

fn limits_below(facts: &Facts, plain: &str) -> Vec<f64> {
    let of_signal = facts.signals.iter().filter(|s| plain.contains(s.name.as_str()));
    of_signal
        .flat_map(|s| {
            s.bounds.iter().map(|b| b.value.get()).filter(|b| s.value.is_some_and(|v| v.get() > *b))
        })
        .collect()
}
