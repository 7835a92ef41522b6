//! The command line. Each command is thin: it reads arguments, calls the library and prints.
//!
//! Exit codes: 0 good; 1 a check found something; 2 usage or config error; 3 could not reach a peer.

/// As those of the standard library, but they have a result: stdout may be closed or full, and those panic.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::out(format_args!($($text)*)) };
}
macro_rules! println {
    ($($text:tt)*) => { $crate::cli::out(format_args!("{}\n", format_args!($($text)*))) };
}

mod bench;
mod commission;
mod console;
#[cfg(feature = "demo")]
mod demo;
#[cfg(test)]
mod manual;
mod model;
mod operator;
mod upgrade;

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use isotherm::site::{self, Mode, Site};
use isotherm::{audit, decision, doctor, init, reason, replay, service};

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
    /// Validates a site, connects, reads every signal and setpoint once; writes nothing but with `--accept`
    /// or `--steps`.
    Check(commission::Args),
    /// Recorded frames or an audit log through the same stages.
    Replay(replay::Args),
    /// The audit log.
    Audit(audit::cli::Args),
    /// The measured claims.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Model files.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// What will fail on this machine, before it does.
    Doctor(DoctorArgs),
    /// JSON Schemas.
    Schema(SchemaArgs),
    /// An operator's acts on a running agent.
    Operator(operator::Args),
    /// Another model or other prompts for a running agent: tried beside it, accepted, taken back.
    Upgrade(upgrade::Args),
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
    mode: Option<Mode>,
}

#[derive(Args)]
struct DoctorArgs {
    #[arg(long)]
    site: Option<PathBuf>,
    /// Print as JSON.
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

fn usage(e: impl fmt::Display) -> Failed {
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
        Command::Replay(args) => again(&args),
        Command::Audit(args) => return ExitCode::from(audit::cli::run(&args, &mut io::stdout())),
        Command::Bench(command) => bench::run(&command),
        Command::Model(command) => model::run(&command),
        Command::Doctor(args) => examine(&args),
        Command::Schema(args) => schema(&args),
        Command::Operator(args) => operator::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
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
    use std::io::IsTerminal as _;
    use tracing_subscriber::EnvFilter;
    // https://no-color.org
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,isotherm=info,rumqttd=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color);
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

fn out(text: fmt::Arguments<'_>) -> Done {
    let mut out = io::stdout();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        // Whoever reads has seen enough, as `head` does; what was found still counts.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|e| usage(format!("cannot print: {e}"))),
    }
}

fn print_json(value: &impl serde::Serialize) -> Done {
    println!("{}", serde_json::to_string_pretty(value).map_err(usage)?)
}

fn run(args: &RunArgs) -> Done {
    let mut site = load(&args.site)?;
    if let Some(mode) = args.mode {
        site.mode = mode;
    }
    service::protect();
    let options = service::Options {
        wait_for_model: Duration::ZERO,
        simulated: false,
        site_file: Some(args.site.clone()),
    };
    let run = async { service::run(site, options, service::stop_signal()).await };
    let ended = runtime()?.block_on(run).map_err(usage)?;
    tracing::info!(decisions = ended.stats.decisions, writes = ended.stats.writes, "stopped");
    Ok(())
}

/// `isotherm replay`
fn again(args: &replay::Args) -> Done {
    let report = replay::run(args).map_err(usage)?;
    if args.json {
        print_json(&report)?;
    } else {
        print!("{report}")?;
    }
    if report.records == Some(0) {
        eprintln!(
            "isotherm: {}: there is no record in this log, so nothing was verified",
            args.trace.display()
        );
        return Err(Failed::Found);
    }
    if args.verify && report.first_difference.is_some() { Err(Failed::Found) } else { Ok(()) }
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
            println!("{mark}  {:<11} {}\n                  {}", f.topic, f.found, f.means)?;
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
