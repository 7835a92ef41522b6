//! How far a site is from its limits, for whoever wants to stop well before a rule has to.

use super::alarm::watched;
use super::guard::Guard;
use super::seen::dew;
use crate::frame::{Frame, Sample};
use crate::site::{Name, Role, Signal};
use crate::units::{Finite, Unit};

/// The distance of one temperature to the limit that is nearest to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Margin {
    pub signal: Name,
    pub value: Finite,
    pub limit: Finite,
    /// Kelvins left; negative beyond the limit.
    pub left: Finite,
}

impl Guard {
    /// The temperature that is nearest to one of its limits: bands, what is recommended and allowed for IT
    /// equipment, and the dew point plus margin for liquids in the white space. Only good values count.
    #[must_use]
    pub fn margin(&self, frame: &Frame) -> Option<Margin> {
        let temperatures = self.site.signals.iter().filter(|s| matches!(s.unit, Unit::DegC | Unit::Kelvin));
        let margins = temperatures.flat_map(|s| self.margins(s, frame));
        margins.min_by(|a, b| a.left.cmp(&b.left))
    }

    fn margins(&self, s: &Signal, frame: &Frame) -> Vec<Margin> {
        let Some(value) = frame.signals.get(&s.name).and_then(Sample::good) else { return Vec::new() };
        let e = &self.site.envelope;
        let recommended = (s.role == Some(Role::ItInlet)).then_some(e.inlet_recommended);
        let (lows, mut highs): (Vec<Finite>, Vec<Finite>) =
            s.band.into_iter().chain(recommended).map(|[low, high]| (low, high)).unzip();
        highs.extend(watched(e).into_iter().filter(|w| Some(w.role) == s.role).map(|w| w.limit));
        let wet = self.site.setpoints.iter().any(|p| p.role == s.role && self.site.in_white_space(p));
        let dew = if wet { dew(&self.site, frame).floor } else { None };
        let margin = |limit: Finite, left: f64| Margin {
            signal: s.name.clone(),
            value,
            limit,
            left: Finite::saturating(left),
        };
        let below = lows.into_iter().chain(dew).map(|limit| margin(limit, value.get() - limit.get()));
        below.chain(highs.into_iter().map(|limit| margin(limit, limit.get() - value.get()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::example;

    #[test]
    fn the_nearest_limit_of_all_counts() {
        let guard = Guard::new(&example::site());
        let left = |values: &[(&str, f64)]| {
            let margin = guard.margin(&example::frame(0, values)).unwrap();
            (margin.signal.to_string(), margin.limit.get(), (margin.left.get() * 10.0).round() / 10.0)
        };
        assert_eq!(left(&[]), ("hall_a_inlet_max".to_owned(), 27.0, 3.0));
        assert_eq!(left(&[("hall_b_inlet_max", 26.8)]), ("hall_b_inlet_max".to_owned(), 27.0, 0.2));
        assert_eq!(left(&[("hall_b_inlet_max", 18.5)]), ("hall_b_inlet_max".to_owned(), 18.0, 0.5));
        assert_eq!(left(&[("gpu_temp_max", 96.0)]), ("gpu_temp_max".to_owned(), 95.0, -1.0));
    }
}
