//! What the oracle works out for itself: numbers from words, dew points, register steps.

use crate::site::source::Order;
use crate::site::{Setpoint, WordType};
use crate::units::Unit;

/// The number that words hold, in the setpoint's unit, from bytes.
pub(super) fn decode(s: &Setpoint, words: &[u16]) -> Option<f64> {
    let p = &s.register;
    let mut bytes: Vec<[u8; 2]> = words.iter().map(|w| w.to_be_bytes()).collect();
    if p.byte_order == Order::Little {
        for b in &mut bytes {
            b.reverse();
        }
    }
    if p.word_order == Order::Little {
        bytes.reverse();
    }
    let raw = match (p.word_type, bytes.as_slice()) {
        (WordType::Int16, [a]) => f64::from(i16::from_be_bytes(*a)),
        (WordType::Uint16, [a]) => f64::from(u16::from_be_bytes(*a)),
        (WordType::Int32, [high, low]) => f64::from(i32::from_be_bytes(joined(*high, *low))),
        (WordType::Uint32, [high, low]) => f64::from(u32::from_be_bytes(joined(*high, *low))),
        (WordType::Float32, [high, low]) => f64::from(f32::from_be_bytes(joined(*high, *low))),
        _ => return None,
    };
    let wire = raw * p.scale.get() + p.offset.get();
    wire.is_finite().then(|| from_wire(s, wire))
}

fn joined([a, b]: [u8; 2], [c, d]: [u8; 2]) -> [u8; 4] {
    [a, b, c, d]
}

fn from_wire(s: &Setpoint, wire: f64) -> f64 {
    match (s.register.unit, s.unit) {
        (Some(Unit::DegF), Unit::DegC) => (wire - 32.0) * 5.0 / 9.0,
        (Some(Unit::Bar), Unit::KilopascalGauge) => wire * 100.0,
        _ => wire,
    }
}

/// The distance between two neighbouring register values, in the setpoint's unit.
pub(super) fn count(s: &Setpoint) -> f64 {
    if s.register.word_type == WordType::Float32 {
        return 1e-5;
    }
    (from_wire(s, s.register.scale.get()) - from_wire(s, 0.0)).abs()
}

/// Dew point by bisection on the saturation pressure of Hyland and Wexler (1983) over water, degC. `None`
/// outside -40 to 50 degC, where the guard knows none either.
pub(super) fn dew_point(dry_bulb: f64, humidity_pct: f64) -> Option<f64> {
    if !(-40.0..=50.0).contains(&dry_bulb) {
        return None;
    }
    let pressure = saturation(dry_bulb) * humidity_pct.clamp(1.0, 100.0) / 100.0;
    let (mut low, mut high) = (-150.0, dry_bulb);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if saturation(middle) < pressure { low = middle } else { high = middle }
    }
    Some(high)
}

fn saturation(t: f64) -> f64 {
    let k = t + 273.15;
    (-5800.2206 / k + 1.391_499_3 - 0.048_640_239 * k + 4.176_476_8e-5 * k * k - 1.445_209_3e-8 * k * k * k
        + 6.545_967_3 * k.ln())
    .exp()
}

#[cfg(test)]
mod tests {
    /// Two formulas by different authors: alike within 0.1 K where it matters.
    #[test]
    fn agrees_with_the_guards_formula() {
        use crate::units::{DegC, Finite, RelHumidity};
        for t in 0..=50 {
            for rh in 5..=100 {
                let (t, rh) = (f64::from(t), f64::from(rh));
                let theirs = crate::units::dew_point(
                    DegC::new(Finite::constant(t)),
                    RelHumidity::new(Finite::constant(rh)).unwrap(),
                );
                let (ours, theirs) = (super::dew_point(t, rh).unwrap(), theirs.unwrap().get().get());
                assert!(ours < 0.0 || (ours - theirs).abs() < 0.1, "{t} degC {rh} %: {ours} {theirs}");
            }
        }
    }
}
