//! `isotherm model`: what is in a model file, and files made from others.

#[cfg(feature = "llama")]
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "llama")]
use clap::Args;
use clap::Subcommand;
use isotherm::model;

use super::{Done, print_json, usage};

#[derive(Subcommand)]
pub(super) enum ModelCommand {
    /// Architecture, quantization and cache bytes per token of a GGUF file.
    Inspect {
        path: PathBuf,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Writes a GGUF file in another quantization.
    #[cfg(feature = "llama")]
    Requantize {
        input: PathBuf,
        /// A new file.
        output: PathBuf,
        #[arg(long, default_value = "q8_0")]
        to: model::requantize::Quantization,
    },
    /// Makes the attention of a Llama-family GGUF file latent: one small cache for all heads of a layer.
    #[cfg(feature = "llama")]
    Compress(CompressArgs),
    /// Asks a model in worlds and words that training never saw, and says how well it does.
    #[cfg(all(feature = "llama", feature = "demo"))]
    Eval(isotherm::lesson::exam::Args),
    /// Writes what the language model learns from.
    #[cfg(feature = "demo")]
    Lessons(isotherm::lesson::write::Args),
}

#[cfg(feature = "llama")]
#[derive(Args)]
pub(super) struct CompressArgs {
    input: PathBuf,
    /// A new file.
    output: PathBuf,
    /// Numbers of the latent that all heads of a layer share.
    #[arg(long)]
    rank: u32,
    /// Dimensions of the rotary key that all heads of a layer share; half a head's when absent.
    #[arg(long)]
    rope_dims: Option<u32>,
    #[arg(long, value_enum, default_value = "f16")]
    to: model::compress::Stored,
    /// Text to measure the layers' inputs on, like what the model will read; this program's own manual
    /// when absent.
    #[arg(long, conflicts_with = "weights_only")]
    text: Option<PathBuf>,
    /// Measure on no text: every direction of the input counts alike.
    #[arg(long)]
    weights_only: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// Plain English and tables of numbers, about what the model will be asked.
#[cfg(feature = "llama")]
const MANUAL: &str = concat!(
    include_str!("../../README.md"),
    include_str!("../../docs/audit.md"),
    include_str!("../../docs/errors.md"),
    include_str!("../../docs/traces.md"),
);

pub(super) fn run(command: &ModelCommand) -> Done {
    match command {
        ModelCommand::Inspect { path, json } => {
            let facts = model::inspect::inspect(path).map_err(usage)?;
            if *json {
                return print_json(&facts);
            }
            print!("{facts}")
        }
        #[cfg(feature = "llama")]
        ModelCommand::Requantize { input, output, to } => {
            is_new(output)?;
            let made = model::requantize::requantize(input, output, *to).map_err(usage)?;
            println!("{}  {}", made.sha256, output.display())
        }
        #[cfg(feature = "llama")]
        ModelCommand::Compress(args) => compress(args),
        #[cfg(all(feature = "llama", feature = "demo"))]
        ModelCommand::Eval(args) => {
            let marks = isotherm::lesson::exam::run(args).map_err(|e| usage(format!("{e:#}")))?;
            if args.json {
                return print_json(&marks);
            }
            print!("{marks}")
        }
        #[cfg(feature = "demo")]
        ModelCommand::Lessons(args) => {
            let kinds = isotherm::lesson::write::run(args).map_err(|e| usage(format!("{e:#}")))?;
            eprintln!("{kinds:?}");
            Ok(())
        }
    }
}

/// Nothing is overwritten, the input least of all.
#[cfg(feature = "llama")]
fn is_new(output: &Path) -> Done {
    if output.exists() {
        return Err(usage(format!("{}: is there already; give another file", output.display())));
    }
    Ok(())
}

#[cfg(feature = "llama")]
fn compress(args: &CompressArgs) -> Done {
    is_new(&args.output)?;
    let text = match &args.text {
        _ if args.weights_only => None,
        Some(path) => {
            Some(std::fs::read_to_string(path).map_err(|e| usage(format!("{}: {e}", path.display())))?)
        }
        None => Some(MANUAL.to_owned()),
    };
    let (rank, rope_dims, stored) = (args.rank, args.rope_dims, args.to);
    let options = model::compress::Options { rank, rope_dims, stored, text };
    let report = model::compress::compress(&args.input, &args.output, &options).map_err(usage)?;
    if args.json {
        return print_json(&report);
    }
    println!("{report}")
}
