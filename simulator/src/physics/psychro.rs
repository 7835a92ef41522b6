//! Moist air at sea level.
//!
//! Saturation pressure over water by Magnus' formula with the constants of Alduchov and Eskridge
//! (J. Appl. Meteorol. 35, 1996), within 0.4 % from -40 to 50 degC. Enthalpy and humidity ratio as in
//! ASHRAE Fundamentals, chapter 1. Wet bulb by bisection of the psychrometric equation.

const PRESSURE: f64 = 101.325;
const MOLAR_RATIO: f64 = 0.622;
/// Latent heat of water vapour at 0 degC, kJ/kg.
pub const LATENT: f64 = 2501.0;
const VAPOUR_CP: f64 = 1.86;

/// Saturation pressure of water vapour in kPa at a temperature in degC.
pub fn saturation_pressure(t: f64) -> f64 {
    0.610_94 * (17.625 * t / (t + 243.04)).exp()
}

/// Humidity ratio, kg of water per kg of dry air, from the dew point in degC.
pub fn humidity_ratio(dew_point: f64) -> f64 {
    let p = saturation_pressure(dew_point);
    MOLAR_RATIO * p / (PRESSURE - p)
}

/// Dew point in degC of a humidity ratio.
pub fn dew_point(ratio: f64) -> f64 {
    let p = PRESSURE * ratio.max(1e-6) / (MOLAR_RATIO + ratio.max(1e-6));
    let x = (p / 0.610_94).ln();
    243.04 * x / (17.625 - x)
}

/// Relative humidity in percent at a dry bulb in degC.
pub fn relative_humidity(dry_bulb: f64, ratio: f64) -> f64 {
    let p = PRESSURE * ratio / (MOLAR_RATIO + ratio);
    (100.0 * p / saturation_pressure(dry_bulb)).clamp(0.0, 100.0)
}

/// Enthalpy of moist air, kJ per kg of dry air.
pub fn enthalpy(dry_bulb: f64, ratio: f64) -> f64 {
    super::AIR_CP * dry_bulb + ratio * (LATENT + VAPOUR_CP * dry_bulb)
}

/// Enthalpy of saturated air, kJ per kg of dry air.
pub fn saturated_enthalpy(t: f64) -> f64 {
    enthalpy(t, humidity_ratio(t))
}

/// Thermodynamic wet bulb in degC.
pub fn wet_bulb(dry_bulb: f64, dew: f64) -> f64 {
    let target = enthalpy(dry_bulb, humidity_ratio(dew.min(dry_bulb)));
    let w = humidity_ratio(dew.min(dry_bulb));
    let (mut low, mut high) = (dew.min(dry_bulb), dry_bulb);
    for _ in 0..40 {
        let mid = f64::midpoint(low, high);
        // Adiabatic saturation: h + (ws - w) * cp_water * twb = hs(twb).
        let gap = saturated_enthalpy(mid) - target - (humidity_ratio(mid) - w) * super::WATER_CP * mid;
        if gap > 0.0 {
            high = mid;
        } else {
            low = mid;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a} is not {b} +- {tolerance}");
    }

    /// Values read from the ASHRAE Fundamentals chart at sea level.
    #[test]
    fn chart_points() {
        near(saturation_pressure(20.0), 2.339, 0.01);
        near(humidity_ratio(12.9), 0.00929, 5e-5);
        near(wet_bulb(30.0, 18.4), 21.8, 0.2);
        near(wet_bulb(20.0, 20.0), 20.0, 1e-6);
        near(saturated_enthalpy(25.0), 76.5, 0.5);
        near(relative_humidity(24.0, humidity_ratio(12.9)), 50.0, 1.0);
    }

    #[test]
    fn dew_point_inverts_humidity_ratio() {
        for t in -20..40 {
            near(dew_point(humidity_ratio(f64::from(t))), f64::from(t), 1e-6);
        }
    }
}
