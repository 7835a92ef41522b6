//! `isotherm operator …`: acts and queries through the control socket of a running agent.

use std::path::PathBuf;

use clap::Subcommand;
use isotherm::control::{Act, What};
use isotherm::service::socket::{self, Ask};
use isotherm::units::Finite;
use jiff::{SignedDuration, Timestamp};

use super::{Done, Failed, ModeArg, load, print_json, runtime, usage};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The site file of the running agent, for its control socket.
    #[arg(long, required_unless_present = "socket")]
    site: Option<PathBuf>,
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Who acts; recorded beside the user id of this process.
    #[arg(long, env = "USER", default_value = "")]
    who: String,
    /// Why; recorded.
    #[arg(long, default_value = "")]
    why: String,
    #[command(subcommand)]
    act: ActArgs,
}

#[derive(Subcommand)]
enum ActArgs {
    /// Prints the live state as JSON.
    State,
    /// Changes the mode.
    Mode {
        mode: ModeArg,
    },
    /// Lets the waiting action with this decision number be written.
    Approve {
        decision: u64,
    },
    Reject {
        decision: u64,
    },
    /// Holds a setpoint at a value, within the envelope.
    Set {
        setpoint: String,
        value: f64,
        /// For this long, such as `2h`; without it, until cleared.
        #[arg(long = "for")]
        span: Option<SignedDuration>,
    },
    /// Gives an overridden setpoint back to the agent.
    Clear {
        setpoint: String,
    },
    /// A directive in plain text.
    Direct {
        text: String,
        #[arg(long = "for")]
        span: Option<SignedDuration>,
    },
    /// Withdraws the directive with this number.
    Withdraw {
        number: u32,
    },
    /// Says that the alarm with this record number has been seen.
    Ack {
        alarm: u64,
    },
}

pub(super) fn run(args: &Args) -> Done {
    let path = match (&args.socket, &args.site) {
        (Some(path), _) => path.clone(),
        (None, Some(site)) => load(site)?.console.control_socket,
        (None, None) => return Err(Failed::Usage("give --site or --socket".to_owned())),
    };
    runtime()?.block_on(async {
        let send = async |ask: &Ask| {
            socket::call(&path, ask).await.map_err(|e| {
                Failed::Unreachable(format!(
                    "{}: {e}. Is the agent running, and is this its socket?",
                    path.display()
                ))
            })
        };
        let state = send(&Ask::State { state: true }).await?;
        let now: Timestamp =
            state.get("time").and_then(|t| serde_json::from_value(t.clone()).ok()).ok_or_else(|| {
                Failed::Unreachable("the agent has no time yet; try again in a moment".to_owned())
            })?;
        let until = |span: Option<SignedDuration>| span.map(|s| now + s);
        let name = |text: &str| text.parse().map_err(usage);
        let what = match &args.act {
            ActArgs::State => return print_json(&state),
            ActArgs::Mode { mode } => What::Mode { mode: (*mode).into() },
            ActArgs::Approve { decision } => What::Approve { decision: *decision },
            ActArgs::Reject { decision } => What::Reject { decision: *decision },
            ActArgs::Set { setpoint, value, span } => What::Override {
                setpoint: name(setpoint)?,
                value: Finite::new(*value).ok_or_else(|| usage("expected a finite number"))?,
                until: until(*span),
            },
            ActArgs::Clear { setpoint } => What::ClearOverride { setpoint: name(setpoint)? },
            ActArgs::Direct { text, span } => What::Directive { text: text.clone(), until: until(*span) },
            ActArgs::Withdraw { number } => What::WithdrawDirective { number: *number },
            ActArgs::Ack { alarm } => What::Acknowledge { alarm: *alarm },
        };
        let act = Act { who: args.who.clone(), why: args.why.clone(), what };
        let answer = send(&Ask::Act(act)).await?;
        print_json(&answer)?;
        if answer.get("accepted") == Some(&serde_json::Value::Bool(true)) {
            Ok(())
        } else {
            Err(Failed::Found)
        }
    })
}
