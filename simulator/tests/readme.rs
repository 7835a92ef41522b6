//! The README's register tables are the code's.

use isotherm_sim::Scenario;
use isotherm_sim::registers::{Register, holding_map, input_map};
use std::fmt::Write as _;

fn table(title: &str, map: &[Register]) -> String {
    let mut out = format!("| {title} | name | unit | encoding |\n|---|---|---|---|\n");
    for r in map {
        let (name, encoding) = (&r.name, r.encoding.describe());
        writeln!(out, "| {} | `{name}` | {} | {encoding} |", r.address, r.unit).expect("a string");
    }
    out
}

#[test]
fn register_tables_match_the_code() {
    let readme = include_str!("../README.md");
    for name in ["air", "liquid", "immersion"] {
        let plant = Scenario::shipped(name).expect("it ships").plant;
        for expected in [table("holding", &holding_map(&plant)), table("input", &input_map(&plant))] {
            assert!(
                readme.contains(&expected),
                "README.md lacks this table of the {name} plant:\n{expected}"
            );
        }
    }
}

#[test]
fn shipped_scenarios_are_listed() {
    let readme = include_str!("../README.md");
    for (name, _) in isotherm_sim::scenario::SHIPPED {
        let about = Scenario::shipped(name).expect("it ships").about;
        let line = format!("| `{name}` | {about} |");
        assert!(readme.contains(&line), "README.md lacks: {line}");
    }
}
