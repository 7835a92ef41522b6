//! GPUs against a published comparison of air- and liquid-cooled H100 nodes under load: air 54 to
//! 72 degC, 46 TFLOP/s per GPU and 8.16 kW a node; liquid 41 to 50 degC, 54 TFLOP/s and 6.99 kW.

use isotherm_sim::Scenario;
use isotherm_sim::chip::{GpuState, Gpus};
use isotherm_sim::plant::PlantConfig;
use isotherm_sim::plant::air::AirConfig;
use isotherm_sim::plant::liquid::LiquidConfig;
use isotherm_sim::plant::server::{RowState, ServerRow};

fn air() -> AirConfig {
    match Scenario::shipped("air").expect("it ships").plant {
        PlantConfig::Air(c) => *c,
        PlantConfig::Liquid(_) | PlantConfig::Immersion(_) => unreachable!("air is air"),
    }
}

fn liquid() -> LiquidConfig {
    match Scenario::shipped("liquid").expect("it ships").plant {
        PlantConfig::Liquid(c) => *c,
        PlantConfig::Air(_) | PlantConfig::Immersion(_) => unreachable!("liquid is liquid"),
    }
}

fn near(what: &str, value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{what}: {value:.2}, published {expected} +- {tolerance}");
}

/// An air-cooled node at full load, settled at an inlet temperature; its row and its GPUs.
fn air_node(inlet: f64, load: f64) -> (RowState, GpuState) {
    let c = air();
    let mut row = ServerRow::new(&c.server, 1.0, inlet);
    let mut last = row.step(1.0, &c.server, load, inlet);
    for _ in 0..3600 {
        last = row.step(1.0, &c.server, load, inlet);
    }
    let mut gpus = Gpus::new(&c.server.gpu, inlet + 30.0);
    let speed = row.air_kg_s(&c.server) / c.server.fan.rated_kg_s;
    let mut state = GpuState::default();
    for _ in 0..3600 {
        state = gpus.step(1.0, &c.server.gpu, load, inlet, speed);
    }
    (last, state)
}

fn cold_plate_gpus(coolant: f64, flow: f64) -> GpuState {
    let c = liquid();
    let mut gpus = Gpus::new(&c.server.gpu, coolant);
    let mut state = GpuState::default();
    for _ in 0..3600 {
        state = gpus.step(1.0, &c.server.gpu, 1.0, coolant, flow);
    }
    state
}

#[test]
fn air_node_matches_the_published_one() {
    let (row, gpu) = air_node(24.0, 1.0);
    near("coolest GPU", gpu.coolest, 54.0, 2.0);
    near("hottest GPU", gpu.hottest, 72.0, 2.0);
    near("TFLOP/s per GPU", gpu.tflops, 46.0, 1.0);
    near("kW a node", row.power_kw, 8.16, 0.15);
}

#[test]
fn liquid_node_matches_the_published_one() {
    let c = liquid();
    // Mean coolant of a plate: 26 degC supply and half of a 9 K rise.
    let gpu = cold_plate_gpus(30.5, 1.0);
    near("coolest GPU", gpu.coolest, 41.0, 2.0);
    near("hottest GPU", gpu.hottest, 50.0, 2.0);
    near("TFLOP/s per GPU", gpu.tflops, 54.0, 1.0);
    let node = f64::from(c.server.gpus) * gpu.power_w / 1000.0
        + c.server.platform_idle_kw
        + c.server.platform_load_kw
        + c.server.fan_kw;
    near("kW a node", node, 6.99, 0.15);
}

#[test]
fn power_rises_with_inlet_temperature_and_throughput_falls() {
    let mut last = air_node(15.0, 1.0);
    for inlet in [20.0, 25.0, 30.0, 35.0] {
        let next = air_node(inlet, 1.0);
        assert!(next.0.power_kw > last.0.power_kw, "{inlet} degC: {next:?}");
        assert!(next.1.tflops < last.1.tflops, "{inlet} degC: {next:?}");
        last = next;
    }
}

#[test]
fn a_gpu_without_coolant_flow_throttles_and_survives() {
    let starved = cold_plate_gpus(45.0, 0.0);
    assert!(starved.throttled > 0.9, "{starved:?}");
    assert!(starved.hottest < 150.0, "{starved:?}");
    assert!(starved.power_w < cold_plate_gpus(30.0, 1.0).power_w);
    assert!(starved.tflops < 0.6 * cold_plate_gpus(30.0, 1.0).tflops);
}
