//! `isotherm bench`: each command runs one of the measured claims and prints what came of it.

use clap::{Args, Subcommand};
use isotherm::bench;

use super::{Done, Failed, print_json, runtime, usage};

#[derive(Subcommand)]
pub(super) enum BenchCommand {
    /// What comes in a second, and whether any of it is lost.
    Ingest(Json),
    /// Nanoseconds a verdict.
    Guard(Json),
    /// Controllers against each other on simulated plants.
    #[cfg(feature = "demo")]
    Control(bench::control::Args),
    /// How fast a model decides, against a plain loop on the same model.
    #[cfg(all(feature = "demo", feature = "llama"))]
    Decide(bench::decide::Args),
    /// How little cooling energy the days of `control` could have cost, had they been known beforehand.
    #[cfg(feature = "demo")]
    Hindsight(bench::control::hindsight::Args),
    /// Transitions under mixed behaviour, for learning control offline.
    #[cfg(feature = "demo")]
    Log(bench::control::log::Args),
    /// Decisions when something changes, against decisions at fixed intervals.
    #[cfg(feature = "demo")]
    Resolution(bench::resolution::Args),
    /// The twin's errors against "it stays as it is", on simulated plants.
    #[cfg(feature = "demo")]
    Twin(bench::twin::Args),
    /// Jobs announced ahead against not, and a scheduler that heeds the headroom against one that does not.
    #[cfg(feature = "demo")]
    Workload(bench::workload::Args),
}

#[derive(Args)]
pub(super) struct Json {
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &BenchCommand) -> Done {
    let (value, json) = match command {
        BenchCommand::Guard(args) => (serde_json::to_value(bench::guard::run().map_err(usage)?), args.json),
        BenchCommand::Ingest(args) => {
            let report =
                runtime()?.block_on(bench::ingest::run()).map_err(|e| Failed::Unreachable(e.to_string()))?;
            (serde_json::to_value(report), args.json)
        }
        #[cfg(feature = "demo")]
        BenchCommand::Control(args) => {
            let report = bench::control::run(args).map_err(usage)?;
            return print_table(&report, args.json, &report.markdown());
        }
        #[cfg(all(feature = "demo", feature = "llama"))]
        BenchCommand::Decide(args) => {
            let report = runtime()?.block_on(bench::decide::run(args)).map_err(usage)?;
            (serde_json::to_value(report), args.json)
        }
        #[cfg(feature = "demo")]
        BenchCommand::Hindsight(args) => {
            let report = bench::control::hindsight::run(args).map_err(usage)?;
            return print_table(&report, args.json, &report.markdown());
        }
        #[cfg(feature = "demo")]
        BenchCommand::Log(args) => {
            let rows = bench::control::log::run(args).map_err(usage)?;
            return println!("{rows} rows");
        }
        #[cfg(feature = "demo")]
        BenchCommand::Resolution(args) => {
            let report = bench::resolution::run(args).map_err(usage)?;
            return print_table(&report, args.json, &report.markdown());
        }
        #[cfg(feature = "demo")]
        BenchCommand::Twin(args) => {
            let report = bench::twin::run(args).map_err(usage)?;
            return print_table(&report, args.json, &report.markdown());
        }
        #[cfg(feature = "demo")]
        BenchCommand::Workload(args) => {
            let report = bench::workload::run(args).map_err(usage)?;
            return print_table(&report, args.json, &report.markdown());
        }
    };
    let value = value.map_err(usage)?;
    if json {
        return print_json(&value);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        println!("{key:<24} {value}")?;
    }
    Ok(())
}

/// A report as JSON, or as the table that people read.
#[cfg(feature = "demo")]
fn print_table(report: &impl serde::Serialize, json: bool, table: &str) -> Done {
    if json {
        return print_json(report);
    }
    print!("{table}")
}
