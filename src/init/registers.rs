//! Registers that hold what could be a measurement. Only the device's manual knows what they are: all of it is a
//! guess, by what they held.

use std::time::Duration;

use super::guess::{self, Guess, Seen};
use super::scan::{Found, Scan};
use crate::site::{Name, Table, WordType};
use crate::units::Unit;

/// What devices hold where there is no value: `0x7FFF`, `0x8000`, `0xFFFF`.
const NO_VALUE: [u16; 3] = [0x7FFF, 0x8000, 0xFFFF];

/// A register read as a number.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Register {
    pub(super) device: Name,
    pub(super) table: Table,
    pub(super) address: u16,
    pub(super) word_type: WordType,
    /// Tenths, as it is.
    pub(super) in_tenths: bool,
    /// The words it held, first and last.
    pub(super) held: [String; 2],
    pub(super) guess: Guess,
}

impl Register {
    /// Addresses that it occupies.
    pub(super) fn addresses(&self) -> impl Iterator<Item = u16> {
        (0..self.word_type.registers()).filter_map(|i| self.address.checked_add(i))
    }
}

/// How a value could be meant.
struct Reading {
    word_type: WordType,
    in_tenths: bool,
    unit: Unit,
    why: &'static str,
}

/// What of a range could be measured, from two readings so far apart. What `is_known` somebody has said already.
pub(super) fn plausible(
    scan: &Scan,
    [first, last]: [&Found; 2],
    apart: Duration,
    is_known: impl Fn(u16) -> bool,
) -> Vec<Register> {
    let mut registers = Vec::new();
    let mut words = first.words.iter().peekable();
    while let Some((address, word)) = words.next() {
        let later = |at: u16| last.words.iter().find(|(a, _)| *a == at).map(|(_, w)| *w);
        let next = words.peek().filter(|(a, _)| address.checked_add(1) == Some(*a)).copied();
        let next = next.filter(|(at, _)| !is_known(*at));
        let now = later(*address).unwrap_or(*word);
        if is_known(*address) || (*word == 0 && now == 0) {
            continue;
        }
        let Some(reading) = read(scan.table, *word, next.map(|(_, low)| *low)) else { continue };
        let (held, values) = if reading.word_type == WordType::Float32
            && let Some((at, low)) = next
        {
            words.next();
            let then = later(*at).unwrap_or(*low);
            ([format!("{word} {low}"), format!("{now} {then}")], [float(*word, *low), float(now, then)])
        } else {
            let value = |word: u16| match (reading.word_type, reading.in_tenths) {
                (WordType::Bit, _) => f64::from(word),
                (_, true) => f64::from(word.cast_signed()) / 10.0,
                (_, false) => f64::from(word.cast_signed()),
            };
            ([word.to_string(), now.to_string()], [value(*word), value(now)])
        };
        let [before, after] = values;
        let minutes = apart.max(Duration::from_secs(1)).as_secs_f64() / 60.0;
        let seen = Seen {
            low: before.min(after),
            high: before.max(after),
            fastest: (after - before).abs() / minutes,
        };
        let guess = guess::guess("", Some(reading.unit), seen);
        registers.push(Register {
            device: scan.name.clone(),
            table: scan.table,
            address: *address,
            word_type: reading.word_type,
            in_tenths: reading.in_tenths,
            held,
            guess: Guess { why: Some(reading.why.to_owned()), ..guess },
        });
    }
    registers
}

/// What a word could mean, alone or with the one behind it; `None` where nothing speaks for a measurement.
fn read(table: Table, word: u16, next: Option<u16>) -> Option<Reading> {
    let reading = |word_type, in_tenths, unit, why| Some(Reading { word_type, in_tenths, unit, why });
    if matches!(table, Table::Coil | Table::Discrete) {
        return reading(WordType::Bit, false, Unit::Flag, "a bit");
    }
    if let Some(low) = next
        && (1e-2..1e6).contains(&float(word, low).abs())
    {
        return match float(word, low) {
            5.0..60.0 => reading(WordType::Float32, false, Unit::DegC, "so warm is what is cooled here"),
            0.0..=100.0 => reading(WordType::Float32, false, Unit::Percent, "none over 100"),
            _ => reading(WordType::Float32, false, Unit::Count, "nothing says what it is"),
        };
    }
    if NO_VALUE.contains(&word) {
        return None;
    }
    match word.cast_signed() {
        50..=600 | -400..=-10 => reading(WordType::Int16, true, Unit::DegC, "in tenths; or a whole number"),
        1..50 => {
            reading(WordType::Int16, false, Unit::Percent, "none over 100; or a count, or tenths of degC")
        }
        601..=1000 => reading(WordType::Int16, true, Unit::Percent, "in tenths; or a whole number"),
        _ => None,
    }
}

fn float(high: u16, low: u16) -> f64 {
    f64::from(f32::from_bits((u32::from(high) << 16) | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Finite;

    fn of(table: &str, first: &[(u16, u16)], last: &[(u16, u16)], known: u16) -> Vec<Register> {
        let scan: Scan = format!("plc=10.0.0.5:{table}:0-99").parse().unwrap();
        let found = |words: &[(u16, u16)]| Found { words: words.to_vec(), ..Found::default() };
        plausible(&scan, [&found(first), &found(last)], Duration::from_mins(1), |a| a == known)
    }

    #[test]
    fn what_could_be_measured_is_found_and_the_rest_is_left() {
        let [a, b, c, d] = 21.5f32.to_be_bytes();
        let [high, low] = [[a, b], [c, d]].map(u16::from_be_bytes);
        let first = [
            (0, 0),
            (1, 1),
            (2, 215),
            (3, 70),
            (5, high),
            (6, low),
            (8, 0xFFFF),
            (9, 4000),
            (10, 0xFF9C),
            (11, 850),
        ];
        let mut last = first;
        last[2].1 = 218;
        let found = of("holding", &first, &last, 3);
        let shown: Vec<_> =
            found.iter().map(|r| (r.address, r.word_type, r.in_tenths, r.guess.unit)).collect();
        let (int, float) = (WordType::Int16, WordType::Float32);
        assert_eq!(
            shown,
            [
                (1, int, false, Unit::Percent),
                (2, int, true, Unit::DegC),
                (5, float, false, Unit::DegC),
                (10, int, true, Unit::DegC),
                (11, int, true, Unit::Percent),
            ]
        );
        assert_eq!(found[2].addresses().collect::<Vec<_>>(), [5, 6]);
        assert_eq!(found[1].held, ["215", "218"]);
        assert!(
            found[3].guess.range[0] <= Finite::constant(-10.0),
            "the range holds what was seen: {found:?}"
        );
        assert!(found.iter().all(|r| r.guess.role.is_none() && r.guess.why.is_some()));
    }

    #[test]
    fn a_bit_that_moves_is_a_flag() {
        let found = of("coil", &[(0, 0), (1, 0), (2, 1)], &[(0, 0), (1, 1), (2, 1)], 99);
        let shown: Vec<_> = found.iter().map(|r| (r.address, r.word_type, r.guess.unit)).collect();
        assert_eq!(shown, [(1, WordType::Bit, Unit::Flag), (2, WordType::Bit, Unit::Flag)]);
    }
}
