//! An open cooling tower: Merkel's enthalpy potential in effectiveness-NTU form.
//!
//! Braun, Klein and Mitchell, ASHRAE Transactions 95 (1989): with the mean slope Cs of the saturation
//! enthalpy, m* = ma Cs / (mw cpw), NTU = c (mw / ma)^(1+n), and the counterflow effectiveness,
//! Q = e ma (hs(Tw_in) - h_air), where the air's enthalpy is that of saturation at wet bulb.

use serde::Deserialize;

use super::WATER_CP;
use super::drive::Fan;
use super::exchanger::counterflow;
use super::psychro::saturated_enthalpy;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tower {
    pub fan: Fan,
    /// Merkel coefficient c and exponent n of NTU = c (mw/ma)^(1+n).
    #[serde(deserialize_with = "crate::bounds::positive")]
    pub merkel_c: f64,
    #[serde(deserialize_with = "crate::bounds::any")]
    pub merkel_n: f64,
    /// Share of rated air flow by natural draught with fans off.
    #[serde(deserialize_with = "crate::bounds::fraction")]
    pub natural_draught: f64,
}

impl Tower {
    /// Heat rejected in kW from water of `inlet` degC at `kg_s`, fans at `speed` 0..1, of which
    /// `health` (0..1) run.
    pub fn duty(&self, kg_s: f64, inlet: f64, wet_bulb: f64, speed: f64, health: f64) -> f64 {
        if kg_s <= 0.0 {
            return 0.0;
        }
        let air = self.fan.rated_kg_s * (speed * health).max(self.natural_draught);
        let range = inlet - wet_bulb;
        let potential = saturated_enthalpy(inlet) - saturated_enthalpy(wet_bulb);
        let slope = if range.abs() > 0.1 { potential / range } else { 4.0 };
        let ratio = air * slope / (kg_s * WATER_CP);
        let ntu = self.merkel_c * (kg_s / air).powf(1.0 + self.merkel_n);
        // `counterflow` holds for a ratio above 1 too; only the limit at 1 needs care.
        counterflow(ntu, ratio) * air * potential
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tower() -> Tower {
        Tower {
            fan: Fan { rated_kw: 30.0, rated_kg_s: 55.0, standing: 0.03 },
            merkel_c: 1.3,
            merkel_n: -0.6,
            natural_draught: 0.06,
        }
    }

    /// By hand: 64 kg/s at 33 degC, wet bulb 24: hs 117.0 and 72.3 kJ/kg, slope 4.97, m* 1.02,
    /// NTU 1.38, effectiveness 0.58, 1.42 MW.
    #[test]
    fn design_point_by_hand() {
        let q = tower().duty(64.0, 33.0, 24.0, 1.0, 1.0);
        assert!((1380.0..1460.0).contains(&q), "{q}");
    }

    #[test]
    fn rejects_nothing_at_wet_bulb_and_more_with_more_air() {
        let t = tower();
        assert!(t.duty(64.0, 24.0, 24.0, 1.0, 1.0).abs() < 1e-6);
        let mut last = 0.0;
        for tenth in 1..=10 {
            let q = t.duty(64.0, 33.0, 24.0, f64::from(tenth) / 10.0, 1.0);
            assert!(q > last);
            last = q;
        }
        assert!(t.duty(64.0, 33.0, 24.0, 1.0, 0.5) < last);
    }
}
