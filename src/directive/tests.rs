use proptest::prelude::*;

use super::*;
use crate::facts::example;

fn now() -> Timestamp {
    Timestamp::from_second(example::START).unwrap()
}

fn read(text: &str) -> Result<Directive, Refused> {
    understand(&example::site(), now(), "ann", text, None)
}

/// The bounds of a text, and the minutes until it ends.
fn show(text: &str) -> String {
    let d = match read(text) {
        Ok(d) => d,
        Err(e) => return format!("refused: {e}"),
    };
    let bounds: Vec<String> = d.limits.iter().map(bound_text).collect();
    let until = d.until.map_or(String::new(), |t| format!(" for {} min", t.duration_since(now()).as_mins()));
    match d.text_only {
        Some(why) => format!("text: {why}{until}"),
        None => format!("{}{until}", bounds.join("; ")),
    }
}

#[test]
fn usual_phrasings() {
    let check = |text: &str, expected: &str| assert_eq!(show(text), expected, "{text}");
    check("keep chilled water at or above 10 °C until 14:00", "chws_sp at least 10 for 240 min");
    check("CHWS no higher than 12 for 2 hours", "chws_sp at most 12 for 120 min");
    check("at least 120 kPa pump pressure", "chw_dp_sp at least 120");
    check("hold chw_dp_sp", "chw_dp_sp held where it is");
    check("Please hold CRAH supply at 21", "crah_supply_sp at 21");
    check(
        "keep chilled water between 8 and 10, pump pressure at most 2 bar",
        "chws_sp 8 to 10; chw_dp_sp at most 200",
    );
    check("leave CHWS at least at 9", "chws_sp at least 9");
    check("set CHWS to at most 12", "chws_sp at most 12");
    check("chws_sp >= 9 because the chiller is being serviced", "chws_sp at least 9");
    check("CHWS setpoint not below 50 degF", "chws_sp at least 10");
    check("do not touch the supply air until 09:30", "crah_supply_sp held where it is for 1410 min");
    check("don't change CHWS for maintenance", "chws_sp held where it is");
    let both = "chws_sp held where it is; chw_dp_sp at 120";
    check("leave CHWS alone, set pump pressure to 120", both);
    check("leave CHWS alone and set pump pressure to 120", both);
    check("do not touch CHWS, keep pump pressure at 120", both);
    check("set pump pressure to 120 and leave CHWS alone", "chw_dp_sp at 120; chws_sp held where it is");
}

#[test]
fn what_is_not_a_bound_stays_text_and_says_why() {
    let check = |text: &str, expected: &str| assert_eq!(show(text), format!("text: {expected}"), "{text}");
    check("keep the inlet below 25", "inlet is measured, not set");
    check("chilled water above 10 only in hall B", "the word \"only\" has no meaning as a bound");
    check("do not keep chilled water above 10", "the word \"do\" has no meaning as a bound");
    check("go easy on the chillers", "the word \"go\" has no meaning as a bound");
    check("chilled water above 120 kPa", "chws_sp is set in degC");
    check("chilled water above", "a bound without a value");
    check("CHWS at least at most 9", "the word \"at\" has no meaning as a bound");
    check("CHWS until tomorrow", "the word \"until\" has no meaning as a bound");
    check("CHWS", "no value is given for chws_sp");
    let unclear = "it is not clear which setpoints the value is for";
    check("keep CHWS, CRAH supply at 20", unclear);
    check("do not touch CHWS and CRAH supply at 20", unclear);
    check("keep chws_sp at 9 if the load rises", "the word \"if\" has no meaning as a bound");
}

#[test]
fn refusals_say_what_to_do() {
    assert!(show("CHWS at least 30").contains("choose a value inside"));
    assert!(matches!(read(" \u{200b}\n"), Err(Refused::Empty)));
    assert!(matches!(read(&"a".repeat(300)), Err(Refused::TooLong { chars: 300 })));
    let past = understand(&example::site(), now(), "ann", "hold CHWS", Some(now()));
    assert!(matches!(past, Err(Refused::Ended { .. })));
}

#[test]
fn the_caller_s_end_wins() {
    let until = now() + SignedDuration::from_hours(1);
    let d = understand(&example::site(), now(), "ann", "hold CHWS until 20:00", Some(until)).unwrap();
    assert_eq!((d.until, d.limits[0].until), (Some(until), Some(until)));
    assert!(d.meaning().starts_with("enforced by the guard until 2026-07-01T11:00:00Z: chws_sp held"));
}

proptest! {
    /// Nothing an operator types can end the prompt's frame or carry chat markup, and nothing panics.
    #[test]
    fn cleaned_text_is_one_plain_line(text in "\\PC{0,80}|[<|>{}a-z_:\\n ]{0,80}") {
        if let Ok(d) = read(&text) {
            let marks = ['<', '>', '|', '{', '}', '\n', '"', '\\'];
            prop_assert!(!d.text.contains(marks));
            prop_assert!(!d.text.chars().any(char::is_control));
            prop_assert!(d.text.chars().count() <= MAX_CHARS);
        }
    }
}
