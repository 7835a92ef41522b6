//! Heat exchangers by the effectiveness-NTU method (Incropera, Fundamentals of Heat and Mass
//! Transfer, chapter 11).

use serde::Deserialize;

/// Effectiveness of a counterflow exchanger: `(1 - e) / (1 - Cr e)` with `e = exp(-NTU (1 - Cr))`;
/// for Cr = 1 `NTU / (1 + NTU)`.
pub fn counterflow(ntu: f64, capacity_ratio: f64) -> f64 {
    if (1.0 - capacity_ratio).abs() < 1e-6 {
        return ntu / (1.0 + ntu);
    }
    let e = (-ntu * (1.0 - capacity_ratio)).exp();
    (1.0 - e) / (1.0 - capacity_ratio * e)
}

/// A counterflow exchanger whose conductance falls with either flow:
/// `1/UA = (s (m1/m1_rated)^-0.8 + (1 - s) (m2/m2_rated)^-n) / UA_rated`, where `s` is the share of
/// the first side in the thermal resistance. The exponent 0.8 is that of turbulent flow in tubes
/// (Dittus-Boelter); `n` is 0.65 for finned air coils and 0.8 for plates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchanger {
    /// Conductance at rated flows, kW/K.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub ua: f64,
    /// Rated mass flow of the first (cold) side, kg/s.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub cold_kg_s: f64,
    /// Rated mass flow of the second (hot) side, kg/s.
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub hot_kg_s: f64,
    /// Share of the cold side in the resistance.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub cold_share: f64,
    /// Exponent of the hot side's flow.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub hot_exponent: f64,
}

/// One side of an exchanger: mass flow in kg/s, specific heat in kJ/(kg K), inlet in degC.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    pub kg_s: f64,
    pub cp: f64,
    pub inlet: f64,
}

impl Stream {
    /// Capacity flow, kW/K.
    pub fn capacity(self) -> f64 {
        self.kg_s * self.cp
    }
}

impl Exchanger {
    /// Heat from the hot to the cold stream, kW (negative if the "hot" one is colder).
    /// `fouling` in 0..1 is the share of the conductance that dirt has taken.
    pub fn duty(&self, cold: Stream, hot: Stream, fouling: f64) -> f64 {
        let (c, h) = (cold.capacity(), hot.capacity());
        let least = c.min(h);
        if least < 1e-6 {
            return 0.0;
        }
        let resistance = self.cold_share * (cold.kg_s / self.cold_kg_s).powf(-0.8)
            + (1.0 - self.cold_share) * (hot.kg_s / self.hot_kg_s).powf(-self.hot_exponent);
        let ua = self.ua * (1.0 - fouling) / resistance;
        counterflow(ua / least, least / c.max(h)) * least * (hot.inlet - cold.inlet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-3, "{a} is not {b}");
    }

    /// Hand-computed: NTU 1.5, Cr 0.5: e = exp(-0.75) = 0.47237, eff = 0.52763 / 0.76382 = 0.69078.
    #[test]
    fn counterflow_values() {
        near(counterflow(1.5, 0.5), 0.690_78);
        near(counterflow(2.0, 1.0), 2.0 / 3.0);
        near(counterflow(1.0, 0.0), 1.0 - (-1.0_f64).exp());
        near(counterflow(50.0, 0.3), 1.0);
        near(counterflow(0.0, 0.3), 0.0);
    }

    #[test]
    fn duty_grows_with_flow_and_never_crosses_temperatures() {
        let x = Exchanger { ua: 90.0, cold_kg_s: 25.0, hot_kg_s: 50.0, cold_share: 0.4, hot_exponent: 0.65 };
        let air = Stream { kg_s: 45.0, cp: 1.006, inlet: 36.0 };
        let mut last = 0.0;
        for kg_s in 1..60 {
            let water = Stream { kg_s: f64::from(kg_s), cp: 4.186, inlet: 10.0 };
            let q = x.duty(water, air, 0.0);
            assert!(q > last && q < 26.0 * water.capacity().min(air.capacity()));
            assert!(x.duty(water, air, 0.3) < q);
            last = q;
        }
    }
}
