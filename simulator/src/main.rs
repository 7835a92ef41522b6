//! `isotherm-sim`: a simulated data centre behind MQTT and Modbus TCP.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use isotherm_sim::scenario::ScenarioError;
use isotherm_sim::serve::{self, Broker, Login, Options, Speed};
use isotherm_sim::{Plant, Scenario, plot, trace};

#[derive(Parser)]
#[command(name = "isotherm-sim", version, about = "A simulated data centre behind MQTT and Modbus TCP")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a plant over MQTT and Modbus TCP
    Serve(Serve),
    /// Run a scenario without sockets, on the plant's local setpoints, and print totals
    Run {
        #[command(flatten)]
        run: Batch,
        /// Print totals as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write what the sensors read to a file
    Trace {
        #[command(flatten)]
        run: Batch,
        /// Where to, a new file: FILE.csv or FILE.parquet
        #[arg(long, value_parser = new_table)]
        out: PathBuf,
        /// Draw it, too, into a new file
        #[arg(long, value_name = "FILE.svg", value_parser = new_picture)]
        plot: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Batch {
    /// A scenario file, or the name of a shipped scenario
    #[arg(long, default_value = "air")]
    scenario: String,
    /// Simulated hours
    #[arg(long, default_value_t = 24.0, value_parser = hours, allow_negative_numbers = true)]
    hours: f64,
    /// Seed of weather, workload and sensors
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hold a setpoint from remote, NAME=VALUE (repeatable)
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, f64)>,
}

#[derive(clap::Args)]
struct Serve {
    /// Kind of plant: the shipped scenario of that name
    #[arg(long, default_value = "air")]
    plant: String,
    /// A scenario file, or the name of a shipped scenario, instead
    #[arg(long)]
    scenario: Option<String>,
    /// MQTT broker
    #[arg(long, default_value = "127.0.0.1")]
    mqtt_host: String,
    #[arg(long, default_value_t = 1883)]
    mqtt_port: u16,
    /// Start a broker here instead, on this port of the loopback interface (0: any free one)
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1883")]
    embedded_broker: Option<u16>,
    #[arg(long, env = "ISOTHERM_SIM_MQTT_USER", requires = "mqtt_password")]
    mqtt_user: Option<String>,
    #[arg(long, env = "ISOTHERM_SIM_MQTT_PASSWORD", hide_env_values = true)]
    mqtt_password: Option<String>,
    /// Address and port of the Modbus server (port 0: any free one)
    #[arg(long, default_value = "127.0.0.1")]
    modbus_host: std::net::IpAddr,
    #[arg(long, default_value_t = 5020)]
    modbus_port: u16,
    /// Simulated seconds per second, or "max"
    #[arg(long, default_value = "1", value_parser = speed)]
    speed: Speed,
    /// After each frame wait for {"time": RFC 3339} on this topic
    #[arg(long, value_name = "TOPIC")]
    lockstep: Option<String>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after so many simulated hours
    #[arg(long, value_parser = hours, allow_negative_numbers = true)]
    hours: Option<f64>,
}

fn hours(text: &str) -> Result<f64, String> {
    let hours = text.parse().ok().filter(|h: &f64| *h > 0.0 && h.is_finite());
    hours.ok_or_else(|| "expected a number above 0".to_owned())
}

fn new_table(text: &str) -> Result<PathBuf, String> {
    new_file(text, &["csv", "parquet"])
}

fn new_picture(text: &str) -> Result<PathBuf, String> {
    new_file(text, &["svg"])
}

/// Found out before hours are simulated for nothing.
fn new_file(text: &str, endings: &[&str]) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
        return Err(format!("expected a name ending in .{}", endings.join(" or .")));
    }
    if path.exists() { Err("is there already; give a new file".to_owned()) } else { Ok(path.to_owned()) }
}

fn speed(text: &str) -> Result<Speed, String> {
    match text.parse::<f64>() {
        Ok(times) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
        _ if text == "max" => Ok(Speed::Max),
        _ => Err("expected a number above 0, or \"max\"".into()),
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let options = Options {
            scenario: Scenario::named(self.scenario.as_deref().unwrap_or(&self.plant))?,
            seed: self.seed,
            broker: match self.embedded_broker {
                Some(port) => Broker::Embedded(port),
                None => Broker::External { host: self.mqtt_host, port: self.mqtt_port },
            },
            login: self.mqtt_user.zip(self.mqtt_password).map(|(user, password)| Login { user, password }),
            modbus_host: self.modbus_host,
            modbus_port: self.modbus_port,
            speed: self.speed,
            lockstep: self.lockstep,
            hours: self.hours,
        };
        let mut running = match serve::start(options).await {
            Err(error) if !error.is::<ScenarioError>() => return Err(error.context(Unreachable)),
            started => started?,
        };
        print(format_args!(
            "SIMULATION: no real equipment is behind these ports\nMQTT port {}, Modbus TCP port {}\n",
            running.mqtt_port, running.modbus_port
        ))?;
        tokio::select! {
            () = running.finished() => {}
            interrupt = tokio::signal::ctrl_c() => interrupt?,
        }
        running.stop();
        print(format_args!("{}", running.totals()))
    }
}

/// `print!`, where stdout may be closed or full.
fn print(text: fmt::Arguments<'_>) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot print"),
    }
}

fn setting(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let finite = value.parse().ok().filter(|v: &f64| v.is_finite());
    Ok((name.to_owned(), finite.ok_or_else(|| format!("{value:?} is not a finite number"))?))
}

impl Batch {
    fn plant(&self) -> anyhow::Result<Plant> {
        let mut plant = Plant::new(Scenario::named(&self.scenario)?, self.seed)?;
        for (name, value) in &self.settings {
            plant.command(name, *value)?;
        }
        Ok(plant)
    }

    /// One sample period further; keeps the heartbeat alive if setpoints were given.
    fn advance(&self, plant: &mut Plant) -> anyhow::Result<()> {
        if !self.settings.is_empty() {
            plant.command("enable", 1.0)?;
            plant.command("heartbeat", f64::from(plant.supervision().heartbeat ^ 1))?;
        }
        plant.step(plant.scenario().sample_s);
        Ok(())
    }
}

/// Exit codes: 0 good, 2 usage, a scenario or a file wrong, 3 a broker or port could not be had.
#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "warn,rumqttd=off".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(
            std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        )
        .init();
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isotherm-sim: {error:#}");
            ExitCode::from(if error.is::<Unreachable>() { 3 } else { 2 })
        }
    }
}

/// Marks an error of the network.
#[derive(Debug, thiserror::Error)]
#[error("could not serve")]
struct Unreachable;

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(serve) => serve.run().await?,
        Command::Run { run, json } => {
            let mut plant = run.plant()?;
            while plant.hours() < run.hours {
                run.advance(&mut plant)?;
            }
            let totals = plant.totals();
            if json {
                print(format_args!("{}\n", serde_json::to_string_pretty(&totals)?))?;
            } else {
                print(format_args!("{totals}"))?;
            }
        }
        Command::Trace { run, out, plot } => {
            let mut plant = run.plant()?;
            let mut trace = trace::Trace::new(&plant);
            while plant.hours() < run.hours {
                run.advance(&mut plant)?;
                trace.push(&plant);
            }
            trace.write(&out)?;
            if let Some(picture) = plot {
                plot::svg(&trace, &plant.scenario().about, &picture)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
