//! Every combination on a coarse grid.

use super::*;

const QUALITIES: [Quality; 4] = [Quality::Good, Quality::Stale, Quality::Suspect, Quality::Missing];

/// Present value, proposal, temperature of the equipment, dew point or flow, elapsed time, quality.
#[test]
fn every_point_of_a_coarse_grid() {
    let mut verdicts = 0u32;
    let mut writes = 0;
    for site in sites() {
        let (hot, other) = match site.name.as_str() {
            "air" => ("inlet_a", "flow"),
            "liquid" => ("supply", "dew"),
            _ => ("bath_a", "flow"),
        };
        let others = if other == "flow" { [499.9, 500.0, 3000.0] } else { [5.0, 19.0, 38.5] };
        for s in &site.setpoints {
            let (min, span) = (s.min.get(), s.span());
            let values: Vec<f64> = (-1..=4).map(|i| min + span * f64::from(i) / 3.0).collect();
            for present in values.clone() {
                let mut first = calm(&site, &[]);
                first.panel.insert(s.name.clone(), finite(present));
                let mut start = Trial::new(&site);
                start.step(&first);
                for (proposed, elapsed) in values.iter().flat_map(|v| [60, 300].map(|e| (*v, e))) {
                    let mut step = calm(&site, &[(s.name.as_str(), proposed)]);
                    step.after_s = elapsed;
                    for (t, o) in [20.0, 26.0, 56.0].into_iter().flat_map(|t| others.map(|o| (t, o))) {
                        for (q_hot, q_other) in QUALITIES.into_iter().flat_map(|a| QUALITIES.map(|b| (a, b)))
                        {
                            step = with(with(step, hot, q_hot, t), other, q_other, o);
                            writes += run(&mut start.clone(), &step).action.writes().len();
                            verdicts += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(verdicts, 3 * 3 * 36 * 2 * 9 * 16);
    assert!(writes > 10_000, "{writes}");
}
