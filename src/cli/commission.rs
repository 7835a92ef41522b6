//! `isotherm init` and `isotherm check`: a new site, until it can be run.

use std::path::PathBuf;

use isotherm::envelope::Consent;
use isotherm::site::{self, Site};
use isotherm::units::{Finite, Kelvin};
use isotherm::{check, init};
use jiff::SignedDuration;

use super::{Done, Failed, load, print_json, runtime, usage};

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    site: PathBuf,
    /// As an acceptance test: takes control, moves each setpoint that is consented to by one step and back,
    /// releases, and prints a protocol. Without a consent nothing is written.
    #[arg(long)]
    accept: bool,
    /// With `--accept`: in the end the heartbeat stops with one step standing, until the plant takes its own
    /// setpoints back.
    #[arg(long, requires = "accept")]
    watchdog: bool,
    /// As step tests: moves each setpoint that is consented to by so many steps away and back, records frames, and says
    /// where the twin is to start. Without a consent nothing is written.
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "1", conflicts_with = "accept",
        value_parser = clap::value_parser!(u32).range(1..=10))]
    steps: Option<u32>,
    /// How long a setpoint stays away, and how long back again.
    #[arg(long, requires = "steps", default_value = "30min")]
    hold: SignedDuration,
    /// The step tests stop when a temperature comes nearer than this to a limit, K.
    #[arg(long, requires = "steps", default_value_t = 0.5, value_parser = margin, allow_negative_numbers = true)]
    margin: f64,
    /// The step tests take no longer than this.
    #[arg(long, requires = "steps", default_value = "8h")]
    at_most: SignedDuration,
    /// A new file for the frames of the step tests.
    #[arg(long, requires = "steps", default_value = "steps.jsonl")]
    record: PathBuf,
    /// Consent for this setpoint; without any, each is asked for on standard input.
    #[arg(long = "consent", value_name = "SETPOINT")]
    consents: Vec<String>,
    /// Who carries it out and consents; recorded.
    #[arg(long, env = "USER", default_value = "")]
    who: String,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// `isotherm init`
pub(super) fn first_site(args: &init::Args) -> Done {
    let made = runtime()?
        .block_on(init::run(args, std::io::stdin().lock(), std::io::stderr()))
        .map_err(|e| if e.is_unreachable() { Failed::Unreachable(e.to_string()) } else { usage(e) })?;
    if args.json {
        print_json(&made)?;
    } else {
        println!(
            "{}: {} signals, {} setpoints; {} registers answered",
            made.path.display(),
            made.signals,
            made.setpoints,
            made.registers
        )?;
        for topic in &made.other_topics {
            println!("no number on topic {topic}")?;
        }
        for node in &made.unborn_nodes {
            println!("no births of Sparkplug node {node}: --rebirth asks for them")?;
        }
        for problem in &made.to_fill {
            println!("to fill in: {problem}")?;
        }
    }
    if made.to_fill.is_empty() { Ok(()) } else { Err(Failed::Found) }
}

/// `isotherm check`
pub(super) fn check(args: &Args) -> Done {
    let site = load(&args.site)?;
    if args.accept {
        return accept_site(args, &site);
    }
    if let Some(steps) = args.steps {
        return step_site(args, &site, steps);
    }
    if !args.consents.is_empty() {
        return Err(Failed::Usage("--consent: to what? It goes with --accept or --steps".to_owned()));
    }
    let report = runtime()?.block_on(check::examine(&site)).map_err(usage)?;
    if args.json {
        print_json(&report)?;
    } else {
        print!("{report}")?;
    }
    ended_at(report.level())
}

fn ended_at(level: check::Level) -> Done {
    match level {
        check::Level::Good => Ok(()),
        check::Level::Found => Err(Failed::Found),
        check::Level::Unreachable => {
            Err(Failed::Unreachable("a peer could not be reached; see above".to_owned()))
        }
    }
}

fn margin(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|k| *k >= 0.0 && f64::is_finite(*k))
        .ok_or("expected kelvins, 0 or more".to_owned())
}

/// What somebody said to each setpoint; `what` is said of a setpoint where they are asked.
fn consents(
    args: &Args,
    site: &Site,
    what: impl Fn(&site::Setpoint) -> String,
) -> Result<Vec<Consent>, Failed> {
    if args.who.trim().is_empty() {
        return Err(Failed::Usage("--who: a test that writes is carried out by somebody".to_owned()));
    }
    if let Some(unknown) =
        args.consents.iter().find(|c| site.setpoints.iter().all(|s| s.name.as_str() != c.as_str()))
    {
        return Err(Failed::Usage(format!("--consent {unknown}: the site has no such setpoint")));
    }
    let mut consents = Vec::new();
    for setpoint in &site.setpoints {
        let answer = if args.consents.is_empty() {
            consent_to(setpoint, &what(setpoint)).map_err(usage)?
        } else {
            args.consents.iter().find(|c| setpoint.name.as_str() == c.as_str()).cloned().unwrap_or_default()
        };
        consents.extend(Consent::from_answer(&args.who, setpoint, &answer));
    }
    Ok(consents)
}

fn accept_site(args: &Args, site: &Site) -> Done {
    let silence = if args.watchdog {
        format!(
            " One of them then stays a step away, up to {:#}, while the heartbeat stops.",
            site.link.watchdog
        )
    } else {
        String::new()
    };
    let consents = consents(args, site, |s| {
        format!("is moved by one step, {} {}, and back.{silence}", s.least_move(), s.unit)
    })?;
    let protocol =
        runtime()?.block_on(check::accept(site, &args.who, &consents, args.watchdog)).map_err(usage)?;
    if args.json {
        print_json(&protocol)?;
    } else {
        print!("{protocol}")?;
    }
    ended_at(protocol.read.level())?;
    // Where nobody consented to anything, nothing is accepted.
    let failed = protocol.result == check::StepResult::Failed || consents.is_empty();
    if failed { Err(Failed::Found) } else { Ok(()) }
}

fn step_site(args: &Args, site: &Site, steps: u32) -> Done {
    let hour = SignedDuration::from_hours(1);
    if args.hold < site.sample * 4 || args.hold > 4 * hour {
        return Err(Failed::Usage(
            "--hold: expected at least four sample periods and at most 4 h".to_owned(),
        ));
    }
    if args.at_most < args.hold || args.at_most > 24 * hour {
        return Err(Failed::Usage("--at-most: expected at least --hold and at most 24 h".to_owned()));
    }
    let plan = check::Plan {
        steps,
        hold: args.hold,
        margin: Kelvin::new(Finite::saturating(args.margin)),
        at_most: args.at_most,
    };
    let consents = consents(args, site, |s| {
        let stride = s.least_move();
        format!("is moved by {steps} × {stride} {}, held for {:#}, and moved back.", s.unit, plan.hold)
    })?;
    if consents.is_empty() {
        return Err(Failed::Usage("no consent: nothing was written".to_owned()));
    }
    // Hours of a test are not begun where nobody answers. With the runtime of its own this look's connections end, before the
    // test opens others.
    let before = runtime()?.block_on(check::examine(site)).map_err(usage)?;
    if before.level() == check::Level::Unreachable {
        eprint!("{before}");
        return ended_at(before.level());
    }
    let protocol =
        runtime()?.block_on(check::steps(site, &args.who, &consents, plan, &args.record)).map_err(usage)?;
    if args.json {
        print_json(&protocol)?;
    } else {
        print!("{protocol}")?;
    }
    if protocol.result == check::StepResult::Failed { Err(Failed::Found) } else { Ok(()) }
}

fn consent_to(setpoint: &site::Setpoint, what: &str) -> std::io::Result<String> {
    eprint!(
        "The plant's enable and heartbeat registers are written, and {name} (device {}, register {}) {what}\n\
         Type {name} to consent: ",
        setpoint.register.device,
        setpoint.register.address,
        name = setpoint.name,
    );
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer)
}
