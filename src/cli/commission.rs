//! `isotherm init` and `isotherm check`: a new site, until it can be run.

use std::path::PathBuf;

use isotherm::envelope::Consent;
use isotherm::site::{self, Site};
use isotherm::{check, init};

use super::{Done, Failed, load, print_json, runtime, usage};

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    site: PathBuf,
    /// As an acceptance test: takes control, moves each setpoint that is consented to by one step and back,
    /// releases, and prints a protocol. Without a consent nothing is written.
    #[arg(long)]
    accept: bool,
    /// Consent for this setpoint; without any, each is asked for on standard input.
    #[arg(long = "consent", value_name = "SETPOINT", requires = "accept")]
    consents: Vec<String>,
    /// Who carries it out and consents; recorded.
    #[arg(long, env = "USER", default_value = "")]
    who: String,
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
        );
        for topic in &made.other_topics {
            println!("no number on topic {topic}");
        }
        for problem in &made.to_fill {
            println!("to fill in: {problem}");
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
    let report = runtime()?.block_on(check::examine(&site));
    if args.json {
        print_json(&report)?;
    } else {
        print!("{report}");
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

fn accept_site(args: &Args, site: &Site) -> Done {
    if args.who.trim().is_empty() {
        return Err(Failed::Usage("--who: an acceptance test is carried out by somebody".to_owned()));
    }
    if let Some(unknown) =
        args.consents.iter().find(|c| site.setpoints.iter().all(|s| s.name.as_str() != c.as_str()))
    {
        return Err(Failed::Usage(format!("--consent {unknown}: the site has no such setpoint")));
    }
    let mut consents = Vec::new();
    for setpoint in &site.setpoints {
        let answer = if args.consents.is_empty() {
            consent_to(setpoint).map_err(usage)?
        } else {
            args.consents.iter().find(|c| setpoint.name.as_str() == c.as_str()).cloned().unwrap_or_default()
        };
        consents.extend(Consent::from_answer(&args.who, setpoint, &answer));
    }
    let protocol = runtime()?.block_on(check::accept(site, &args.who, &consents)).map_err(usage)?;
    if args.json {
        print_json(&protocol)?;
    } else {
        print!("{protocol}");
    }
    ended_at(protocol.read.level())?;
    if protocol.result == check::StepResult::Failed { Err(Failed::Found) } else { Ok(()) }
}

fn consent_to(setpoint: &site::Setpoint) -> std::io::Result<String> {
    eprint!(
        "The plant's enable and heartbeat registers are written, and {name} (device {}, register {}) is moved by \
         one step, {} {}, and back.\nType {name} to consent: ",
        setpoint.register.device,
        setpoint.register.address,
        setpoint.step.max(setpoint.deadband),
        setpoint.unit,
        name = setpoint.name,
    );
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer)
}
