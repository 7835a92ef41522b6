//! Data-centre cooling plants, simulated behind real MQTT and Modbus TCP.
//!
//! The simulator shares no code with the agent that cools it: units, registers and physics are its
//! own, so that a mistake on one side cannot cancel itself out on the other.

pub mod chip;
pub mod climate;
pub mod fault;
pub mod load;
pub mod noise;
pub mod physics;
pub mod plant;
pub mod plot;
pub mod registers;
pub mod scenario;
pub mod sensor;
pub mod serve;
pub mod supervision;
pub mod trace;

mod bounds;

pub use plant::{Plant, Totals};
pub use scenario::Scenario;
