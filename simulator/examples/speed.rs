//! How much faster than real time a plant runs on one core. In release:
//! `cargo run --release -p isotherm-sim --example speed`

use isotherm_sim::{Plant, Scenario, clock};

const HOURS: f64 = 24.0 * 7.0;

fn main() -> anyhow::Result<()> {
    for name in ["air", "liquid", "immersion"] {
        let mut plant = Plant::new(Scenario::shipped(name)?, 1)?;
        let took = clock::timed(|| plant.step(HOURS * 3600.0));
        let times = HOURS * 3600.0 / took.as_secs_f64();
        println!("{name:10} {times:>12.0} x real time ({HOURS} h in {took:.2?})");
    }
    Ok(())
}
