//! `isotherm operator …`: acts and queries through the control socket of a running agent.

use std::path::PathBuf;

use clap::Subcommand;
use isotherm::control::{Act, What};
use isotherm::service::socket::{self, Ask};
use isotherm::site::Mode;
use isotherm::units::Finite;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Done, Failed, load, print_json, runtime, usage};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    door: Door,
    #[command(subcommand)]
    act: ActArgs,
}

/// The running agent, and who comes to it.
#[derive(clap::Args)]
pub(super) struct Door {
    /// The site file of the running agent, for its control socket.
    #[arg(long, global = true)]
    site: Option<PathBuf>,
    #[arg(long, global = true)]
    socket: Option<PathBuf>,
    /// Who acts; recorded beside the user id of this process.
    #[arg(long, global = true, env = "USER", default_value = "")]
    who: String,
    /// Why; recorded.
    #[arg(long, global = true, default_value = "")]
    why: String,
}

impl Door {
    fn socket(&self) -> Result<PathBuf, Failed> {
        match (&self.socket, &self.site) {
            (Some(path), _) => Ok(path.clone()),
            (None, Some(site)) => Ok(load(site)?.console.control_socket),
            (None, None) => Err(Failed::Usage("give --site or --socket".to_owned())),
        }
    }

    async fn send(&self, ask: &Ask) -> Result<Value, Failed> {
        let path = self.socket()?;
        socket::call(&path, ask).await.map_err(|e| {
            Failed::Unreachable(format!(
                "{}: {e}. Is the agent running, and is this its socket?",
                path.display()
            ))
        })
    }

    pub(super) async fn state(&self) -> Result<Value, Failed> {
        self.send(&Ask::State { state: true }).await
    }

    /// Prints the answer; a refusal is exit code 1.
    pub(super) async fn act(&self, what: What) -> Done {
        let act = Act { who: self.who.clone(), why: self.why.clone(), what };
        let answer = self.send(&Ask::Act(act)).await?;
        print_json(&answer)?;
        if answer.get("accepted") == Some(&Value::Bool(true)) { Ok(()) } else { Err(Failed::Found) }
    }
}

#[derive(Subcommand)]
enum ActArgs {
    /// Prints the live state as JSON.
    State,
    /// Changes the mode.
    Mode {
        mode: Mode,
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
        #[arg(allow_negative_numbers = true)]
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
    runtime()?.block_on(async {
        let state = args.door.state().await?;
        let now: Timestamp =
            state.get("time").and_then(|t| serde_json::from_value(t.clone()).ok()).ok_or_else(|| {
                Failed::Unreachable("the agent has no time yet; try again in a moment".to_owned())
            })?;
        let until = |span: Option<SignedDuration>| {
            let at = |s| {
                now.checked_add(s).map_err(|_| usage("--for: expected a span that ends before the year 9999"))
            };
            span.map(at).transpose()
        };
        let name = |text: &str| text.parse().map_err(usage);
        let what = match &args.act {
            ActArgs::State => return print_json(&state),
            ActArgs::Mode { mode } => What::Mode { mode: *mode },
            ActArgs::Approve { decision } => What::Approve { decision: *decision },
            ActArgs::Reject { decision } => What::Reject { decision: *decision },
            ActArgs::Set { setpoint, value, span } => What::Override {
                setpoint: name(setpoint)?,
                value: Finite::new(*value).ok_or_else(|| usage("expected a finite number"))?,
                until: until(*span)?,
            },
            ActArgs::Clear { setpoint } => What::ClearOverride { setpoint: name(setpoint)? },
            ActArgs::Direct { text, span } => What::Directive { text: text.clone(), until: until(*span)? },
            ActArgs::Withdraw { number } => What::WithdrawDirective { number: *number, text: None },
            ActArgs::Ack { alarm } => What::Acknowledge { alarm: *alarm },
        };
        args.door.act(what).await
    })
}
