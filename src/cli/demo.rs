//! `isotherm demo`: a simulated plant behind an embedded broker and a Modbus server, in lock step with an
//! agent that does not know that it is one.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use isotherm::site::{self, Site};
use isotherm::{audit, service};
use isotherm_sim::serve;

use super::{Done, Failed, runtime, usage};

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, value_enum, default_value = "air")]
    plant: Plant,
    /// Simulated hours.
    #[arg(long, default_value_t = 2.0)]
    hours: f64,
    /// Times real time, or `max`: as fast as the model answers.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// No console and no progress on the terminal.
    #[arg(long)]
    headless: bool,
    #[arg(long)]
    json: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// GGUF model; the one the set-up made when absent.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Where the audit log goes; a new folder under the temporary folder when absent.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Plant {
    Air,
    Liquid,
    Immersion,
}

#[derive(Clone, Copy, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.parse::<f64>() {
            _ if s == "max" => Ok(Self::Max),
            Ok(x) if x > 0.0 && x.is_finite() => Ok(Self::Times(x)),
            Ok(_) | Err(_) => Err(format!("expected \"max\" or a factor above 0 such as 60, got {s:?}")),
        }
    }
}
