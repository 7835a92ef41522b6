//! `isotherm upgrade …`: another model or other prompts for a running agent.

use std::path::PathBuf;

use clap::Subcommand;
use isotherm::control::What;
use isotherm::upgrade::SHADOW_MIN;
use jiff::SignedDuration;
use serde_json::Value;

use super::operator::Door;
use super::{Done, print_json, runtime, usage};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    door: Door,
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Asks a candidate beside what decides, for the record alone.
    Propose {
        /// A GGUF file or, where the site's model is on a server, the name of one there.
        #[arg(long, required_unless_present = "prompts")]
        model: Option<String>,
        /// The file must have this hash.
        #[arg(long, requires = "model")]
        sha256: Option<String>,
        /// A folder of prompts.
        #[arg(long)]
        prompts: Option<PathBuf>,
        /// How long before it can be accepted, in the agent's time, such as `12h`; a day when absent.
        #[arg(long)]
        shadow: Option<SignedDuration>,
    },
    /// What has been found out so far.
    Status {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// The candidate decides from now on, and after a restart.
    Accept {
        /// Before its shadow period is over.
        #[arg(long)]
        early: bool,
    },
    /// Gives the candidate up or, where there is none, goes back to what decided before.
    Revert,
}

pub(super) fn run(args: &Args) -> Done {
    runtime()?.block_on(async {
        let what = match &args.step {
            Step::Status { json } => {
                let state = args.door.state().await?;
                let upgrade = state.get("upgrade").cloned().unwrap_or_default();
                if *json {
                    return print_json(&upgrade);
                }
                return print(&upgrade);
            }
            Step::Propose { model, sha256, prompts, shadow } => {
                let state = args.door.state().await?;
                // The agent has a folder of its own.
                let model = match model {
                    Some(file) if is_local(&state) => {
                        Some(absolute(&PathBuf::from(file))?.display().to_string())
                    }
                    name => name.clone(),
                };
                let prompts = prompts.as_ref().map(absolute).transpose()?;
                let shadow_min = shadow.map_or(Ok(SHADOW_MIN), minutes)?;
                What::ProposeUpgrade { model, sha256: sha256.clone(), prompts, shadow_min }
            }
            Step::Accept { early } => What::AcceptUpgrade { early: *early },
            Step::Revert => What::RevertUpgrade,
        };
        args.door.act(what).await
    })
}

fn is_local(state: &Value) -> bool {
    state["model_backend"] == "local"
}

fn absolute(path: &PathBuf) -> Result<PathBuf, super::Failed> {
    std::path::absolute(path).map_err(usage)
}

fn minutes(span: SignedDuration) -> Result<u32, super::Failed> {
    let whole = u32::try_from((span.as_secs() + 59) / 60).ok();
    whole.filter(|n| *n > 0).ok_or_else(|| usage("--shadow: expected at least a minute, such as 24h"))
}

fn print(upgrade: &Value) -> Done {
    if !upgrade["in_force"].is_null() {
        println!("in force    {}", version(&upgrade["in_force"]))?;
        println!("before      {}", version(&upgrade["before"]))?;
    }
    let trial = &upgrade["candidate"];
    if trial.is_null() {
        return println!("no candidate");
    }
    println!("candidate   {} ({})", version(&trial["to"]), text(&trial["phase"]))?;
    println!("beside      {}", version(&trial["from"]))?;
    println!("proposed    by {}: {}", text(&trial["who"]), text(&trial["why"]))?;
    if trial["until"].is_null() {
        println!("shadow      {} min, from when it is loaded", trial["shadow_min"])?;
    } else {
        println!("shadow      until {}, {} min left", text(&trial["until"]), trial["left_min"])?;
    }
    let tally = &trial["tally"];
    println!("compared    {} decisions; {} skipped", tally["compared"], tally["skipped"])?;
    println!(
        "agreement   {} % of {} that both could answer",
        text(&tally["agreement_pct"]),
        tally["both_usable"]
    )?;
    for (setpoint, apart) in tally["mean_apart"].as_object().into_iter().flatten() {
        println!("apart       {setpoint} by {} on average", text(apart))?;
    }
    println!("            {:>10} {:>10}", "incumbent", "candidate")?;
    for (key, told) in [
        ("usable_pct", "usable, %"),
        ("verified_pct", "verified, %"),
        ("interventions", "stopped"),
        ("mean_ms", "ms"),
    ] {
        let of = |side: &str| text(&tally[side][key]);
        println!("{told:<11} {:>10} {:>10}", of("incumbent"), of("candidate"))?;
    }
    Ok(())
}

fn version(shown: &Value) -> String {
    let model = &shown["model"];
    let model = match model["served"]["name"].as_str() {
        Some(name) => format!("model {name}"),
        None => format!("{} SHA-256 {}", text(&model["file"]["path"]), text(&model["file"]["sha256"])),
    };
    format!("{model}, prompt {} {}", text(&shown["prompts"]["template"]), text(&shown["prompts"]["sha256"]))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
