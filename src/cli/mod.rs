//! The command line. Each command is thin: it reads arguments, calls the library and prints.
//!
//! Exit codes: 0 good; 1 a check found something; 2 usage or config error; 3 could not reach a peer.

mod commission;
mod console;
#[cfg(feature = "demo")]
mod demo;
#[cfg(test)]
mod manual;
mod operator;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use isotherm::site::{self, Mode, Site};
use isotherm::{audit, bench, decision, doctor, init, model, reason, replay, service};

#[derive(Parser)]
#[command(name = "isotherm", version = version(), about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A simulated plant, broker, Modbus server, agent and console in one go.
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// A first site file: asks, listens to a broker, reads registers.
    Init(init::Args),
    /// The on-prem service.
    Run(RunArgs),
    /// Validates a site, connects, reads every signal and setpoint once; writes nothing but with `--accept`.
    Check(commission::Args),
    /// Recorded frames or an audit log through the same stages.
    Replay(replay::Args),
    /// The audit log.
    Audit(audit::cli::Args),
    /// The measured claims.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Model files.
    #[command(subcommand)]
    Model(ModelCommand),
    /// What will fail on this machine, before it does.
    Doctor(DoctorArgs),
    /// JSON Schemas.
    Schema(SchemaArgs),
    /// An operator's acts on a running agent.
    Operator(operator::Args),
    /// Who may use the console.
    Console(console::Args),
    /// The model process; started by the agent itself.
    #[cfg(feature = "llama")]
    #[command(hide = true)]
    Reasoner,
}

#[derive(Args)]
struct RunArgs {
    #[arg(long)]
    site: PathBuf,
    /// Start in this mode, whatever the site file says.
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeArg {
    Shadow,
    Advise,
    Auto,
    Manual,
}

impl From<ModeArg> for Mode {
    fn from(m: ModeArg) -> Self {
        match m {
            ModeArg::Shadow => Self::Shadow,
            ModeArg::Advise => Self::Advise,
            ModeArg::Auto => Self::Auto,
            ModeArg::Manual => Self::Manual,
        }
    }
}

#[derive(Args)]
struct DoctorArgs {
    #[arg(long)]
    site: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SchemaArgs {
    #[arg(value_enum)]
    what: SchemaOf,
    /// For `decision`: the site whose setpoints constrain the model.
    #[arg(long, required_if_eq("what", "decision"))]
    site: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemaOf {
    Decision,
    Site,
    Frame,
}

#[derive(Subcommand)]
enum BenchCommand {
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
struct Json {
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum ModelCommand {
    /// Architecture, quantization and cache bytes per token of a GGUF file.
    Inspect {
        path: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// Writes a GGUF file in another quantization.
    #[cfg(feature = "llama")]
    Requantize {
        input: PathBuf,
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
struct CompressArgs {
    input: PathBuf,
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

fn version() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| format!("{} ({})", env!("CARGO_PKG_VERSION"), reason::build_info()))
}

/// What a command ends with, other than success.
enum Failed {
    Found,
    Usage(String),
    Unreachable(String),
}

type Done = Result<(), Failed>;

fn usage(e: impl std::fmt::Display) -> Failed {
    Failed::Usage(e.to_string())
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    logging();
    let done = match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => commission::first_site(&args),
        Command::Run(args) => run(&args),
        Command::Check(args) => commission::check(&args),
        Command::Replay(args) => return ExitCode::from(replay::main(&args)),
        Command::Audit(args) => return ExitCode::from(audit::cli::run(&args, &mut std::io::stdout())),
        Command::Bench(command) => bench(&command),
        Command::Model(command) => model_command(&command),
        Command::Doctor(args) => examine(&args),
        Command::Schema(args) => schema(&args),
        Command::Operator(args) => operator::run(&args),
        Command::Console(args) => console::run(&args),
        #[cfg(feature = "llama")]
        Command::Reasoner => reason::worker::run().map_err(usage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Found) => ExitCode::from(1),
        Err(Failed::Usage(message)) => {
            eprintln!("isotherm: {message}");
            ExitCode::from(2)
        }
        Err(Failed::Unreachable(message)) => {
            eprintln!("isotherm: {message}");
            ExitCode::from(3)
        }
    }
}

/// Logs go to stderr: stdout belongs to reports. `RUST_LOG` chooses, `ISOTHERM_LOG=json` for machines.
fn logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,isotherm=info,rumqttd=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("ISOTHERM_LOG").is_ok_and(|v| v == "json") {
        builder.json().init();
    } else {
        builder.with_target(false).init();
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(usage)
}

fn load(path: &Path) -> Result<Site, Failed> {
    site::load(path).map_err(usage)
}

fn print_json(value: &impl serde::Serialize) -> Done {
    println!("{}", serde_json::to_string_pretty(value).map_err(usage)?);
    Ok(())
}

fn run(args: &RunArgs) -> Done {
    let mut site = load(&args.site)?;
    if let Some(mode) = args.mode {
        site.mode = mode.into();
    }
    service::protect();
    let options = service::Options {
        wait_for_model: Duration::ZERO,
        simulated: false,
        site_file: Some(args.site.clone()),
    };
    let ended = runtime()?.block_on(service::run(site, options, service::stop_signal())).map_err(usage)?;
    tracing::info!(decisions = ended.stats.decisions, writes = ended.stats.writes, "stopped");
    Ok(())
}

fn bench(command: &BenchCommand) -> Done {
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
        BenchCommand::Log(args) => {
            let rows = bench::control::log::run(args).map_err(usage)?;
            println!("{rows} rows");
            return Ok(());
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
        println!("{key:<24} {value}");
    }
    Ok(())
}

/// A report as JSON, or as the table that people read.
#[cfg(feature = "demo")]
fn print_table(report: &impl serde::Serialize, json: bool, table: &str) -> Done {
    if json {
        return print_json(report);
    }
    print!("{table}");
    Ok(())
}

fn model_command(command: &ModelCommand) -> Done {
    match command {
        ModelCommand::Inspect { path, json } => {
            let facts = model::inspect::inspect(path).map_err(usage)?;
            if *json {
                return print_json(&facts);
            }
            print!("{facts}");
            Ok(())
        }
        #[cfg(feature = "llama")]
        ModelCommand::Requantize { input, output, to } => {
            let made = model::requantize::requantize(input, output, *to).map_err(usage)?;
            println!("{}  {}", made.sha256, output.display());
            Ok(())
        }
        #[cfg(feature = "llama")]
        ModelCommand::Compress(args) => compress(args),
        #[cfg(all(feature = "llama", feature = "demo"))]
        ModelCommand::Eval(args) => {
            let marks = isotherm::lesson::exam::run(args).map_err(|e| usage(format!("{e:#}")))?;
            if args.json {
                return print_json(&marks);
            }
            print!("{marks}");
            Ok(())
        }
        #[cfg(feature = "demo")]
        ModelCommand::Lessons(args) => {
            let kinds = isotherm::lesson::write::run(args).map_err(|e| usage(format!("{e:#}")))?;
            eprintln!("{kinds:?}");
            Ok(())
        }
    }
}

#[cfg(feature = "llama")]
fn compress(args: &CompressArgs) -> Done {
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
    println!("{report}");
    Ok(())
}

fn examine(args: &DoctorArgs) -> Done {
    let site = args.site.as_deref().map(load).transpose()?;
    let findings = doctor::examine(site.as_ref());
    if args.json {
        print_json(&findings)?;
    } else {
        for f in &findings {
            let mark = match f.level {
                doctor::Level::Ok => "ok  ",
                doctor::Level::Warn => "warn",
                doctor::Level::Fail => "FAIL",
            };
            println!("{mark}  {:<11} {}\n                  {}", f.topic, f.found, f.means);
        }
    }
    let failed = findings.iter().any(|f| f.level == doctor::Level::Fail);
    if failed { Err(Failed::Found) } else { Ok(()) }
}

fn schema(args: &SchemaArgs) -> Done {
    match (args.what, &args.site) {
        (SchemaOf::Decision, Some(path)) => print_json(&decision::schema(&load(path)?)),
        (SchemaOf::Decision, None) => Err(Failed::Usage("schema decision needs --site FILE".to_owned())),
        (SchemaOf::Site, _) => print_json(&site::schema()),
        (SchemaOf::Frame, _) => print_json(&isotherm::frame::schema()),
    }
}
