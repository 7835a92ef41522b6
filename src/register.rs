//! Register words to numbers and back: pure and total, so that the guard may use it.
//!
//! A register holds `raw`; the number on the wire is `raw * scale + offset`, in the point's unit.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::expect_used)]

use crate::envelope::Words;
use crate::site::source::Order;
use crate::site::{Point, WordType};
use crate::units::{Finite, Unit};

/// The words are not a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("expected {expected} register(s), got {got}")]
    Count { expected: u16, got: usize },
    #[error("the registers hold NaN, an infinity, or a number beyond any scale")]
    NotFinite,
}

/// The number does not fit the register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("{from} cannot be expressed in {to}")]
    Unit { from: Unit, to: Unit },
    #[error("the raw value is beyond the register's type")]
    Range,
    #[error("a coil or discrete input holds no number to write")]
    Bit,
}

/// The number that `words` hold, in the point's unit on the wire.
pub fn decode(point: &Point, words: &[u16]) -> Result<Finite, DecodeError> {
    let expected = point.word_type.registers();
    let count = DecodeError::Count { expected, got: words.len() };
    let raw = if expected == 1 {
        let &[word] = words else { return Err(count) };
        let word = in_byte_order(point.byte_order, word);
        match point.word_type {
            WordType::Int16 => f64::from(word.cast_signed()),
            WordType::Bit => f64::from(u8::from(word != 0)),
            WordType::Uint16 | WordType::Int32 | WordType::Uint32 | WordType::Float32 => f64::from(word),
        }
    } else {
        let &[first, second] = words else { return Err(count) };
        let (high, low) = in_word_order(point.word_order, first, second);
        let bits = (u32::from(in_byte_order(point.byte_order, high)) << 16)
            | u32::from(in_byte_order(point.byte_order, low));
        match point.word_type {
            WordType::Int32 => f64::from(bits.cast_signed()),
            WordType::Float32 => f64::from(f32::from_bits(bits)),
            WordType::Uint32 | WordType::Int16 | WordType::Uint16 | WordType::Bit => f64::from(bits),
        }
    };
    Finite::new(scaled(point, raw)).ok_or(DecodeError::NotFinite)
}

/// The words that come nearest to `value`, a number in `unit`.
pub fn encode(point: &Point, unit: Unit, value: Finite) -> Result<Words, EncodeError> {
    let wire = point.unit.unwrap_or(unit);
    let on_wire = unit.convert(value, wire).ok_or(EncodeError::Unit { from: unit, to: wire })?;
    let raw = unscaled(point, on_wire.get());
    let nearest = nearest(point.word_type, raw).ok_or(match point.word_type {
        WordType::Bit => EncodeError::Bit,
        WordType::Int16 | WordType::Uint16 | WordType::Int32 | WordType::Uint32 | WordType::Float32 => {
            EncodeError::Range
        }
    })?;
    pack(point, nearest).ok_or(EncodeError::Range)
}

/// The words nearest to `value` among those that decode to a number from `low` to `high`, and that
/// number; all in `unit`. So rounding never leaves a limit. `None` when nothing in the register's type
/// lies between.
pub fn encode_between(
    point: &Point,
    unit: Unit,
    value: Finite,
    low: Finite,
    high: Finite,
) -> Option<(Words, Finite)> {
    if low > high {
        return None;
    }
    let wire = point.unit.unwrap_or(unit);
    let aim = value.max(low).min(high);
    let raw = unscaled(point, unit.convert(aim, wire)?.get());
    let (least, most) = limits(point.word_type)?;
    let centre = nearest(point.word_type, raw.max(least).min(most))?;
    // The aim is inside the bounds, so the answer is its nearest neighbour on one side or the other;
    // one more on each side covers what floating point loses on the way.
    (-2..=2)
        .filter_map(|steps| pack(point, neighbour(point.word_type, centre, steps)?))
        .filter_map(|words| Some((words, wire.convert(decode(point, words.as_slice()).ok()?, unit)?)))
        .filter(|(_, decoded)| (low..=high).contains(decoded))
        .min_by(|(_, a), (_, b)| distance(*a, aim).total_cmp(&distance(*b, aim)))
}

/// Whether two register contents are at most so many raw counts apart.
#[must_use]
pub fn within(point: &Point, a: &[u16], b: &[u16], counts: u16) -> bool {
    let raw = Point { scale: Finite::constant(1.0), offset: Finite::ZERO, ..point.clone() };
    let apart = |a: Finite, b: Finite| distance(a, b) <= f64::from(counts);
    a == b || (counts > 0 && decode(&raw, a).is_ok_and(|a| decode(&raw, b).is_ok_and(|b| apart(a, b))))
}

fn distance(a: Finite, b: Finite) -> f64 {
    (a.get() - b.get()).abs()
}

/// `raw * scale + offset`. A scale such as 0.1 is not exact in binary, but its inverse 10 is: dividing
/// by that makes 253 tenths the same number as a limit written `25.3`, and not its neighbour.
fn scaled(point: &Point, raw: f64) -> f64 {
    let (scale, offset) = (point.scale.get(), point.offset.get());
    match whole_inverse(scale) {
        Some(inverse) => (raw + offset * inverse) / inverse,
        None => raw * scale + offset,
    }
}

fn unscaled(point: &Point, value: f64) -> f64 {
    let (scale, offset) = (point.scale.get(), point.offset.get());
    match whole_inverse(scale) {
        Some(inverse) => (value - offset) * inverse,
        None => (value - offset) / scale,
    }
}

fn whole_inverse(scale: f64) -> Option<f64> {
    let inverse = scale.recip().round();
    let exact = inverse.is_finite() && inverse.recip().total_cmp(&scale).is_eq();
    exact.then_some(inverse)
}

/// The least and greatest raw value of a type that can be written.
fn limits(word_type: WordType) -> Option<(f64, f64)> {
    match word_type {
        WordType::Int16 => Some((i16::MIN.into(), i16::MAX.into())),
        WordType::Uint16 => Some((u16::MIN.into(), u16::MAX.into())),
        WordType::Int32 => Some((i32::MIN.into(), i32::MAX.into())),
        WordType::Uint32 => Some((u32::MIN.into(), u32::MAX.into())),
        WordType::Float32 => Some((f32::MIN.into(), f32::MAX.into())),
        WordType::Bit => None,
    }
}

/// The raw value that the type can hold and that is nearest to `raw`; `None` beyond its limits.
fn nearest(word_type: WordType, raw: f64) -> Option<f64> {
    let (least, most) = limits(word_type)?;
    let exact = if word_type == WordType::Float32 { f64::from(to_f32(raw)) } else { raw.round() };
    (least..=most).contains(&exact).then_some(exact + 0.0)
}

/// `steps` representable values away from `raw`, which is one itself.
fn neighbour(word_type: WordType, raw: f64, steps: i32) -> Option<f64> {
    if word_type != WordType::Float32 {
        return nearest(word_type, raw + f64::from(steps));
    }
    let step = if steps < 0 { f32::next_down } else { f32::next_up };
    let moved = (0..steps.unsigned_abs()).fold(to_f32(raw), |v, _| step(v));
    nearest(word_type, f64::from(moved))
}

/// `raw` must be representable: whole and inside the limits, or an exact f32.
fn pack(point: &Point, raw: f64) -> Option<Words> {
    let bits = match point.word_type {
        WordType::Int16 => return Some(one(point, i16::try_from(to_i64(raw)).ok()?.cast_unsigned())),
        WordType::Uint16 => return Some(one(point, u16::try_from(to_i64(raw)).ok()?)),
        WordType::Int32 => i32::try_from(to_i64(raw)).ok()?.cast_unsigned(),
        WordType::Uint32 => u32::try_from(to_i64(raw)).ok()?,
        WordType::Float32 => to_f32(raw).to_bits(),
        WordType::Bit => return None,
    };
    let [a, b, c, d] = bits.to_be_bytes();
    let high = in_byte_order(point.byte_order, u16::from_be_bytes([a, b]));
    let low = in_byte_order(point.byte_order, u16::from_be_bytes([c, d]));
    let (first, second) = in_word_order(point.word_order, high, low);
    Some(Words::Two([first, second]))
}

fn one(point: &Point, word: u16) -> Words {
    Words::One([in_byte_order(point.byte_order, word)])
}

fn in_byte_order(order: Order, word: u16) -> u16 {
    match order {
        Order::Big => word,
        Order::Little => word.swap_bytes(),
    }
}

fn in_word_order(order: Order, a: u16, b: u16) -> (u16, u16) {
    match order {
        Order::Big => (a, b),
        Order::Little => (b, a),
    }
}

#[expect(clippy::as_conversions, reason = "there is no other f64 to i64; `as` saturates and never panics")]
fn to_i64(v: f64) -> i64 {
    v as i64
}

#[expect(clippy::as_conversions, reason = "there is no other f64 to f32; `as` rounds to nearest")]
fn to_f32(v: f64) -> f32 {
    v as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finite(v: f64) -> Finite {
        Finite::new(v).unwrap()
    }

    fn point(word_type: WordType, scale: f64, offset: f64, word_order: Order, byte_order: Order) -> Point {
        Point {
            device: "plc".parse().unwrap(),
            point: None,
            table: crate::site::Table::Holding,
            address: 0,
            word_type,
            scale: finite(scale),
            offset: finite(offset),
            word_order,
            byte_order,
            unit: None,
            takes: None,
        }
    }

    fn plain(word_type: WordType) -> Point {
        point(word_type, 1.0, 0.0, Order::Big, Order::Big)
    }

    /// 123456.0 as IEEE 754 is 47 F1 20 00; the four layouts are those that device manuals call ABCD,
    /// CDAB, BADC and DCBA.
    #[test]
    fn every_layout_of_a_float() {
        for (word_order, byte_order, words) in [
            (Order::Big, Order::Big, [0x47F1, 0x2000]),
            (Order::Little, Order::Big, [0x2000, 0x47F1]),
            (Order::Big, Order::Little, [0xF147, 0x0020]),
            (Order::Little, Order::Little, [0x0020, 0xF147]),
        ] {
            let p = point(WordType::Float32, 1.0, 0.0, word_order, byte_order);
            assert_eq!(decode(&p, &words), Ok(finite(123_456.0)));
            assert_eq!(encode(&p, Unit::Kilowatt, finite(123_456.0)), Ok(Words::Two(words)));
        }
    }

    #[test]
    fn every_type() {
        assert_eq!(decode(&plain(WordType::Int16), &[0xFFFF]), Ok(finite(-1.0)));
        assert_eq!(decode(&plain(WordType::Uint16), &[0xFFFF]), Ok(finite(65_535.0)));
        assert_eq!(decode(&plain(WordType::Int32), &[0xFFFF, 0xFFFE]), Ok(finite(-2.0)));
        assert_eq!(decode(&plain(WordType::Uint32), &[0xFFFF, 0xFFFE]), Ok(finite(4_294_967_294.0)));
        assert_eq!(decode(&plain(WordType::Bit), &[1]), Ok(finite(1.0)));
        let little = point(WordType::Int16, 0.1, -40.0, Order::Big, Order::Little);
        assert_eq!(decode(&little, &[0x8D02]), Ok(finite(25.3)), "653 tenths less 40, to the last digit");
    }

    #[test]
    fn what_is_not_a_number_is_an_error() {
        let float = plain(WordType::Float32);
        assert_eq!(decode(&float, &[0x7FC0, 0]), Err(DecodeError::NotFinite));
        assert_eq!(decode(&float, &[0x7F80, 0]), Err(DecodeError::NotFinite));
        assert_eq!(decode(&float, &[0]), Err(DecodeError::Count { expected: 2, got: 1 }));
        assert_eq!(decode(&plain(WordType::Int16), &[]), Err(DecodeError::Count { expected: 1, got: 0 }));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let p = point(WordType::Int16, 0.1, 0.0, Order::Big, Order::Big);
        assert_eq!(encode(&p, Unit::DegC, finite(3276.7)), Ok(Words::One([0x7FFF])));
        assert_eq!(encode(&p, Unit::DegC, finite(3277.0)), Err(EncodeError::Range));
        assert_eq!(encode(&plain(WordType::Uint16), Unit::Rpm, finite(-1.0)), Err(EncodeError::Range));
        assert_eq!(encode(&plain(WordType::Float32), Unit::Watt, finite(1e39)), Err(EncodeError::Range));
        assert_eq!(encode(&plain(WordType::Bit), Unit::Flag, finite(1.0)), Err(EncodeError::Bit));
        let wrong = Point { unit: Some(Unit::Bar), ..plain(WordType::Int16) };
        assert!(matches!(encode(&wrong, Unit::DegC, finite(1.0)), Err(EncodeError::Unit { .. })));
    }

    #[test]
    fn a_limit_between_two_steps_rounds_inward() {
        // Whole degrees in the register, a limit of 8.4 to 9.6: only 9 lies between.
        let p = plain(WordType::Int16);
        let at = |v, low, high| encode_between(&p, Unit::DegC, finite(v), finite(low), finite(high));
        assert_eq!(at(8.4, 8.4, 9.6), Some((Words::One([9]), finite(9.0))));
        assert_eq!(at(100.0, 8.4, 9.6), Some((Words::One([9]), finite(9.0))));
        assert_eq!(at(8.5, 8.4, 8.6), None);
        assert_eq!(at(8.5, 9.0, 8.0), None);
        assert_eq!(at(40_000.0, 30_000.0, 50_000.0), Some((Words::One([32_767]), finite(32_767.0))));
        assert_eq!(at(0.0, 40_000.0, 50_000.0), None, "out of the type's reach");
    }

    /// A Fahrenheit register under Celsius limits: the decoded number is compared in the limit's unit.
    #[test]
    fn limits_hold_across_units() {
        let p = Point { unit: Some(Unit::DegF), ..plain(WordType::Int16) };
        let (words, value) = encode_between(&p, Unit::DegC, finite(6.0), finite(6.0), finite(16.0)).unwrap();
        assert_eq!(words, Words::One([43]), "42 degF is 5.6 degC, 43 degF is 6.1 degC");
        assert!(value >= finite(6.0));
    }

    fn any_point() -> impl Strategy<Value = Point> {
        let types = prop::sample::select(vec![
            WordType::Int16,
            WordType::Uint16,
            WordType::Int32,
            WordType::Uint32,
            WordType::Float32,
        ]);
        let order = || prop::sample::select(vec![Order::Big, Order::Little]);
        let scale = prop_oneof![
            prop::sample::select(vec![1.0, 0.1, 0.01, 0.001, 10.0, -0.1, 0.5, 1.0 / 3.0]),
            1e-6..1e6f64,
            -1e6..-1e-6f64
        ];
        (types, scale, -1000.0..1000.0f64, order(), order())
            .prop_map(|(t, s, o, word, byte)| point(t, s, o, word, byte))
    }

    proptest! {
        /// Whatever words a device holds, a number decoded from them is written back as the same
        /// words. Integer types: floats under a scale may come back as their neighbour.
        #[test]
        fn words_survive_the_way_there_and_back(p in any_point(), a: u16, b: u16) {
            let words = if p.word_type.registers() == 1 { vec![a] } else { vec![a, b] };
            if let Ok(value) = decode(&p, &words) {
                let back = encode(&p, Unit::Kelvin, value);
                if p.word_type == WordType::Float32 {
                    if let Ok(back) = back {
                        let again = decode(&p, back.as_slice()).unwrap();
                        prop_assert!(distance(again, value) <= 1e-6 * value.get().abs().max(p.offset.get().abs()));
                    }
                } else {
                    let back = back.unwrap();
                    prop_assert_eq!(back.as_slice(), &words[..]);
                }
            }
        }

        /// Decoding never panics and never yields a number from the wrong count of words.
        #[test]
        fn decoding_is_total(p in any_point(), words in prop::collection::vec(any::<u16>(), 0..4)) {
            let got = decode(&p, &words);
            prop_assert_eq!(
                matches!(got, Err(DecodeError::Count { .. })),
                words.len() != usize::from(p.word_type.registers())
            );
        }

        /// Encoding errs by at most half a raw step.
        #[test]
        fn encoding_is_nearest(p in any_point(), v in -1e5..1e5f64) {
            if let Ok(words) = encode(&p, Unit::Kelvin, finite(v)) {
                let back = decode(&p, words.as_slice()).unwrap().get();
                let half = if p.word_type == WordType::Float32 {
                    1e-6 * (v.abs() + p.offset.get().abs() + 1.0)
                } else {
                    p.scale.get().abs() * 0.5 * (1.0 + 1e-9) + 1e-6
                };
                prop_assert!((back - v).abs() <= half, "{v} came back as {back}");
            }
        }

        /// What comes out is inside the limits, is what the words decode to, and there is an answer
        /// whenever the nearest encoding of the aim is inside.
        #[test]
        fn rounding_never_leaves_the_limits(
            p in any_point(), v in -1e5..1e5f64, low in -1e5..1e5f64, width in 0.0..100.0f64
        ) {
            let (low, high) = (finite(low), finite(low + width));
            if let Some((words, value)) = encode_between(&p, Unit::Kelvin, finite(v), low, high) {
                prop_assert!(low <= value && value <= high);
                prop_assert_eq!(decode(&p, words.as_slice()), Ok(value));
            } else if let Ok(words) = encode(&p, Unit::Kelvin, finite(v).max(low).min(high)) {
                let value = decode(&p, words.as_slice()).unwrap();
                prop_assert!(value < low || value > high);
            }
        }

        /// A coarse register: brute force over all 65,536 raw values agrees.
        #[test]
        fn agrees_with_exhaustive_search(
            scale in prop::sample::select(vec![0.1, 0.25, 1.0, -0.5]),
            v in -50.0..50.0f64, low in -50.0..50.0f64, width in 0.0..3.0f64
        ) {
            let p = point(WordType::Int16, scale, 0.0, Order::Big, Order::Big);
            let (low, high, v) = (finite(low), finite(low + width), finite(v));
            let best = (0..=u16::MAX)
                .map(|w| decode(&p, &[w]).unwrap())
                .filter(|d| (low..=high).contains(d))
                .min_by(|a, b| distance(*a, v).total_cmp(&distance(*b, v)));
            let got = encode_between(&p, Unit::Kelvin, v, low, high).map(|(_, d)| d);
            prop_assert_eq!(best.map(|b| distance(b, v)), got.map(|g| distance(g, v)));
        }
    }
}
