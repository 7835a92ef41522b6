//! Memory and violence against the reasoner, on the real kernel: whatever becomes of the model's process,
//! the guard keeps its cadence, every write stands in the log, and the log verifies.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use isotherm::memory::kernel;
use isotherm::model::gguf::{Gguf, Layout};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::Rig;
use crate::outages::{DECISION, HEARTBEAT, verifies_by_replay};
use crate::peers::{lacks, skip};

const CADENCE: SignedDuration = SignedDuration::from_mins(1);

/// What the shipped model was made from, with its first layer alone: talks nonsense, but loads and answers in a moment,
/// through the same code.
pub(crate) fn small_model(test: &str, folder: &Path) -> Option<PathBuf> {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2-135m-instruct-q8_0.gguf");
    if !whole.exists() {
        skip(test, "needs a model file: run scripts/model");
        return None;
    }
    let header = Gguf::read(std::fs::File::open(&whole).unwrap()).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let cut = |range: std::ops::Range<u64>| {
        &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    };
    let name = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let kept =
        |t: &&isotherm::model::gguf::Tensor| !t.name.starts_with("blk.") || t.name.starts_with("blk.0.");
    let tensors: Vec<_> = header.tensors.iter().filter(kept).collect();

    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((header.spans.len() as u64).to_le_bytes());
    for (key, span) in &header.spans {
        out.extend(name(key));
        if key.ends_with(".block_count") {
            out.extend([4u32.to_le_bytes(), 1u32.to_le_bytes()].concat());
        } else {
            out.extend(cut(span.clone()));
        }
    }
    let mut weights = Vec::new();
    for tensor in tensors {
        out.extend(name(&tensor.name));
        out.extend(u32::try_from(tensor.shape.len()).unwrap().to_le_bytes());
        out.extend(tensor.shape.iter().flat_map(|n| n.to_le_bytes()));
        out.extend(tensor.kind.to_le_bytes());
        out.extend((weights.len() as u64).to_le_bytes());
        let start = header.data_start + tensor.offset;
        weights.extend(cut(start..start + Layout::of(tensor.kind).unwrap().bytes(tensor.elements)));
        weights.resize(weights.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(weights);
    let path = folder.join("small.gguf");
    std::fs::write(&path, out).unwrap();
    Some(path)
}

/// The rig's site with a local model, whose replies are cut short, as it has nothing to say; `more` goes behind
/// the model's own settings.
pub(crate) fn local(site: &str, model: &Path, more: &str) -> String {
    let from = site.find("backend = ").unwrap();
    let to = site.find("[audit]").unwrap();
    let model = format!("path = \"{}\"\ndeadline = \"2s\"\nmax_tokens = 64\n{more}\n", model.display());
    format!("{}{model}{}", &site[..from], &site[to..])
}

fn time(value: &Value) -> Timestamp {
    serde_json::from_value(value.clone()).unwrap()
}

/// No interval without its decision and, in charge, its heartbeat; no write that failed or has no record.
pub(crate) async fn nothing_was_missed(rig: &mut Rig) {
    let decisions: Vec<Timestamp> = rig
        .bodies("decision")
        .iter()
        .filter(|d| d["cause"] == "cadence")
        .map(|d| time(&d["asked_at"]))
        .collect();
    for pair in decisions.windows(2) {
        assert_eq!(pair[1].duration_since(pair[0]), CADENCE, "from {} to {}", pair[0], pair[1]);
    }
    let frames = rig.bodies("frame");
    let end = time(&frames.last().unwrap()["frame"]["time"]);
    assert!(end.duration_since(*decisions.last().unwrap()) <= CADENCE, "to the end");

    let beats: Vec<u64> = frames.iter().filter_map(|f| f["heartbeat"].as_u64()).collect();
    assert!(beats.len() + 4 > frames.len(), "in charge from the first frames on");
    assert!(beats.windows(2).all(|b| b[1] == (b[0] + 1) % 65_536), "one at each frame");
    let wire = rig.audited_writes(HEARTBEAT).await;
    let wire = wire.iter().filter(|(address, _)| *address == HEARTBEAT).map(|(_, w)| w[0].as_u64().unwrap());
    let counted: Vec<u64> = beats.iter().map(|beat| beat & 0x7fff).collect();
    assert_eq!(wire.collect::<Vec<_>>(), counted, "every heartbeat reached the plant, in order");

    let outcomes = rig.bodies("outcome");
    for write in outcomes.iter().flat_map(|o| o["writes"].as_array().unwrap()) {
        assert_eq!(write["result"], "applied", "{write}");
    }
    let records = rig.records();
    let intents = records.iter().filter(|r| {
        let body: Value = serde_json::from_str(&r.body).unwrap();
        let event = body.get("action").is_some_and(|a| a.as_array().is_some_and(|a| !a.is_empty()));
        event || body.get("disposition").is_some_and(|d| d == "write")
    });
    assert_eq!(intents.count(), outcomes.len(), "each intent has its outcome");
}

/// What became of each decision's question.
fn failures(rig: &Rig) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for decision in rig.bodies("decision") {
        let kind = match decision["failure"]["failure"].as_str() {
            Some(failure) => failure.to_owned(),
            None if decision["completion"].is_object() => "complete".to_owned(),
            None => decision["replaced"].as_str().unwrap_or("no question").to_owned(),
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    counts
}

/// Replies that came, whole or cut short.
fn answers(rig: &Rig) -> u32 {
    failures(rig)
        .iter()
        .filter(|(kind, _)| ["complete", "unfinished"].contains(&kind.as_str()))
        .map(|f| f.1)
        .sum()
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_refused_and_nothing_is_missed() {
    let test = "a_model_that_does_not_fit";
    let folder = tempfile::tempdir().unwrap();
    let Some(model) = small_model(test, folder.path()) else { return };
    let limited = |mb: u64| {
        let model = model.clone();
        move |site: String| local(&site, &model, &format!("memory_limit_mb = {mb}"))
    };
    let Some(mut rig) = Rig::start(test, limited(20)).await else { return };
    rig.until("it is refused", |r| r.log().contains("memory_limit_mb allows 20 MB")).await;
    // Long enough for the fallback to begin to move setpoints.
    rig.frames(25 * DECISION).await;
    rig.stop().await;
    nothing_was_missed(&mut rig).await;
    let decisions = rig.bodies("decision");
    // Between two refusals it is tried again.
    let mut whys = decisions.iter().rev().filter_map(|d| d["failure"]["why"].as_str());
    let told = whys.find(|why| *why != "the model is still loading").unwrap();
    assert!(told.contains("weights") && told.contains("allows 20 MB"), "{told}");
    assert!(decisions.iter().all(|d| d["verdict"]["by"] == "fallback"), "{:?}", failures(&rig));
    assert!(decisions.iter().any(|d| d["disposition"] == "write"), "and it did write");
    verifies_by_replay(&rig).await;

    // What the check beforehand lets pass still has to live within the limit: the program itself is not
    // counted, so the kernel says no while the model loads.
    let need: u64 = told.split_once("about ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    let Some(mut rig) = Rig::start(test, limited(need + 1)).await else { return };
    rig.until("it is lost", |r| r.log().contains("reasoner lost")).await;
    rig.frames(5 * DECISION).await;
    rig.stop().await;
    nothing_was_missed(&mut rig).await;
    assert!(!rig.log().contains("memory_limit_mb allows"), "it was admitted: {}", rig.log());
    assert_eq!(answers(&rig), 0, "{:?}", failures(&rig));
    verifies_by_replay(&rig).await;
}

fn available_mb() -> u64 {
    kernel::bytes_in(Path::new(kernel::MEMINFO), "MemAvailable").unwrap().unwrap() / 1_000_000
}

fn steps(rig: &Rig) -> Vec<Value> {
    rig.bodies("event").into_iter().filter(|e| e["event"] == "memory").map(|e| e["memory"].clone()).collect()
}

/// Beside the agent something else takes memory and gives it back. How much is short is set by what there
/// is: a machine that others share is not to be exhausted.
#[tokio::test]
async fn a_hog_beside_it_drives_the_ladder_down_and_up_again() {
    let test = "a_hog";
    let free = available_mb();
    if free < 4000 {
        return lacks(test, &format!("needs 4000 MB available memory to take a part of; there are {free}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(model) = small_model(test, folder.path()) else { return };
    let part = (free / 12).min(500);
    let rung = |parts: u64| {
        format!("{{ available_mb = {}, pressure_pct = 100, group_pct = 100 }}", free - parts * part)
    };
    let memory = format!(
        "[memory]\nsample = \"100ms\"\nhold = \"1s\"\nmargin_pct = 1\nshort = {}\nsmall = {}\nparked = {}\n",
        rung(1),
        rung(2),
        rung(3)
    );
    let edit = |site: String| local(&site, &model, &memory);
    let Some(mut rig) = Rig::start(test, edit).await else { return };
    let before = rig.until_reasoner_is_ready().await;
    rig.frames(DECISION).await;

    let at = |rig: &Rig, to: &str| steps(rig).last().is_some_and(|s| s["to"] == to);
    let mut hog: Vec<Vec<u8>> = Vec::new();
    for _ in 0..300 {
        if at(&rig, "parked") {
            break;
        }
        if hog.len() < 16 {
            // Written to, or it would be a promise only.
            hog.push(vec![1; usize::try_from(part * 1_000_000 / 4).unwrap()]);
        }
        rig.frames(1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let taken = hog.len() as u64 * part / 4;
    assert!(at(&rig, "parked"), "{taken} MB taken of {free}: {:?}", steps(&rig));
    rig.until("the model is gone", |r| r.reasoner().is_none()).await;
    rig.frames(2 * DECISION).await;
    drop(hog);
    for _ in 0..600 {
        if at(&rig, "full") {
            break;
        }
        rig.frames(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let steps = steps(&rig);
    println!("{free} MB available, {taken} taken:");
    for event in rig.bodies("event").iter().filter(|e| e["event"] == "memory") {
        println!("  {}", event["detail"].as_str().unwrap());
    }
    let parked = steps.iter().position(|s| s["to"] == "parked").unwrap();
    assert!(steps[..=parked].iter().any(|s| s["cause"]["because"] == "available"), "{steps:?}");
    let rungs: Vec<&str> = steps[steps.len() - 3..].iter().map(|s| s["to"].as_str().unwrap()).collect();
    assert_eq!(rungs, ["small", "short", "full"], "a rung at a time: {steps:?}");
    assert!(steps[steps.len() - 3..].iter().all(|s| s["cause"]["because"] == "calm"), "{steps:?}");

    let after = rig.until_reasoner_is_ready().await;
    assert_ne!(before, after, "another process");
    rig.frames(2 * DECISION).await;
    rig.stop().await;
    nothing_was_missed(&mut rig).await;
    assert!(failures(&rig)["parked"] >= 2, "{:?}", failures(&rig));
    verifies_by_replay(&rig).await;
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn garbage(&mut self) -> Vec<u8> {
        let noise: Vec<u8> = (0..=self.below(200)).map(|_| self.roll() as u8).collect();
        match self.below(4) {
            0 => noise,
            1 => u32::MAX.to_be_bytes().to_vec(),
            2 => [&(noise.len() as u32).to_be_bytes()[..], &noise].concat(),
            _ => isotherm::reason::protocol::encode(&isotherm::reason::protocol::Reply::Refused {
                why: "no".repeat(noise.len()),
            })
            .unwrap(),
        }
    }
}

/// What is done to the process; `false` when it was gone already.
fn attack(pid: Pid, dice: &mut Dice) -> (&'static str, bool) {
    let number = pid.as_raw_nonzero();
    let link = |fd: u32| std::fs::read_link(format!("/proc/{number}/fd/{fd}")).ok();
    let inject = |fd: u32, bytes: &[u8]| {
        // Not waiting: a pipe that is full takes nothing more.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        let pipe = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(nonblocking)
            .open(format!("/proc/{number}/fd/{fd}"));
        pipe.and_then(|mut pipe| pipe.write_all(bytes)).is_ok()
    };
    match dice.below(4) {
        0 => ("killed", kill_process(pid, Signal::KILL).is_ok()),
        1 => ("stopped", kill_process(pid, Signal::STOP).is_ok()),
        2 => ("garbage to it", inject(0, &dice.garbage())),
        _ => {
            // Its answers leave through the pipe that is neither its input nor its log.
            let others = [link(0), link(2)];
            let is_pipe = |p: &PathBuf| p.to_string_lossy().starts_with("pipe:");
            let answers = (1..64).filter(|fd| *fd != 2).find(|fd| {
                let here = link(*fd);
                here.as_ref().is_some_and(is_pipe) && !others.contains(&here)
            });
            ("garbage from it", answers.is_some_and(|fd| inject(fd, &dice.garbage())))
        }
    }
}

async fn violence(test: &str, attacks: u32) {
    let folder = tempfile::tempdir().unwrap();
    let Some(model) = small_model(test, folder.path()) else { return };
    let edit = |site: String| local(&site, &model, "");
    let Some(mut rig) = Rig::start(test, edit).await else { return };
    let mut dice = Dice(5);
    let mut done = BTreeMap::new();
    let mut stopped = None;
    while done.values().sum::<u32>() < attacks {
        // Half of the time it is let to answer first, else it is met in whatever state it is.
        if dice.below(2) == 0 {
            for _ in 0..100 {
                if rig.reasoner().is_some_and(|pid| rig.is_ready(pid)) {
                    rig.frames(DECISION).await;
                    break;
                }
                rig.frames(1).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let Some(pid) = rig.reasoner() else {
            // Between two lives.
            rig.frames(1).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        rig.frames(u32::try_from(dice.below(u64::from(DECISION))).unwrap()).await;
        rig.frame_unanswered(22.0).await;
        tokio::time::sleep(Duration::from_micros(dice.below(60_000))).await;
        let (what, met) = attack(pid, &mut dice);
        *done.entry(what).or_insert(0) += u32::from(met);
        if met && done.values().sum::<u32>() % 100 == 0 {
            println!("{done:?}");
        }
        rig.acknowledged().await;
        if what == "stopped" {
            stopped = Some(pid);
        } else if let Some(pid) = stopped.take_if(|_| dice.below(2) == 0) {
            // Gone on with in the middle of whatever it was, if it still is.
            kill_process(pid, Signal::CONT).ok();
        }
    }
    if let Some(pid) = rig.reasoner() {
        kill_process(pid, Signal::KILL).ok();
    }
    let before = answers(&rig);
    rig.until_reasoner_is_ready().await;
    for _ in 0..20 {
        rig.frames(DECISION).await;
        if answers(&rig) > before {
            break;
        }
    }
    println!("{done:?}; decisions: {:?}", failures(&rig));
    assert!(answers(&rig) > before, "left in peace, it answers again: {:?}", failures(&rig));
    rig.stop().await;
    nothing_was_missed(&mut rig).await;
    verifies_by_replay(&rig).await;
}

#[tokio::test]
async fn violence_against_the_reasoner_costs_nothing() {
    violence("violence", 20).await;
}

#[tokio::test]
#[ignore = "1,000 attacks, or ISOTHERM_ATTACKS, take the better part of an hour; the quick suite has 20"]
async fn violence_a_thousand_times() {
    let attacks = std::env::var("ISOTHERM_ATTACKS").map_or(1000, |n| n.parse().unwrap());
    violence("violence, long", attacks).await;
}

/// A week of simulated time with every kind of fault, at full speed. What the process holds of its own at the
/// end of the last day is what it held after the first.
#[test]
#[ignore = "a week takes many minutes"]
fn a_week_of_faults_does_not_make_it_grow() {
    let folder = tempfile::tempdir().unwrap();
    let day = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulator/scenarios/air-faults.toml");
    let day: toml::Table = std::fs::read_to_string(day).unwrap().parse().unwrap();
    let mut week = day.clone();
    let faults = week["fault"].as_array_mut().unwrap();
    let first = faults.clone();
    for later in 1..7 {
        faults.extend(first.iter().cloned().map(|mut fault| {
            let at = &mut fault["at_h"];
            let hours = at.as_float().or(at.as_integer().map(|h| h as f64)).unwrap();
            *at = toml::Value::Float(hours + 24.0 * f64::from(later));
            fault
        }));
    }
    let scenario = folder.path().join("week.toml");
    std::fs::write(&scenario, week.to_string()).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_isotherm"))
        .args(["demo", "--hours", "168", "--speed", "max", "--headless", "--json", "--controller", "trim"])
        .arg("--scenario")
        .arg(&scenario)
        .arg("--dir")
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["audit"]["verified"], true, "{report}");
    let days: Vec<f64> = serde_json::from_value(report["own_mb_by_day"].clone()).unwrap();
    let growth = 100.0 * (days[6] / days[0] - 1.0);
    println!("own MB by day {days:?}: {growth:+.1} % from day 1 to day 7, in {} s", report["wall_s"]);
    println!("{report}");
    assert!(growth < 2.0, "{growth} %: {days:?}");
}
