//! Memory as an input of the design: what the kernel says about it, what the agent gives up in which order,
//! and who is to be killed if it comes to that.
//!
//! [`ladder`] decides and has no I/O; [`kernel`] reads; [`protect`] and [`group`] tell the kernel which of
//! the two processes matters. `docs/memory.md` sets the ladder beside what Linux does meanwhile.

pub mod group;
pub mod kernel;
pub mod ladder;
pub mod protect;

pub use ladder::{Change, Ladder, Reading, Rung};
