//! The guard's side of the reasoner process: starts it, asks it, and survives whatever it does.
//!
//! ```text
//!             ┌──────────── pause, doubled each time ◀───────────┐
//!             ▼                                                  │
//!  start ─▶ Starting ── Loaded ─▶ Ready ── died, late, garbled ─▶ Down
//!             └──────── refused, died, too slow ────────────────▶ Down
//! ```
//!
//! From outside comes an [`Order`]: to run with so large a context, or not to run at all. A new one ends the
//! process that there is.
//!
//! One thread owns the process for as long as it lives: the kernel kills the reasoner when the *thread*
//! that started it ends, and threads of an async runtime come and go.

mod asked;
mod pipes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command as Program};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

use asked::{Ask, Asked};
use pipes::{Log, Pipes, pass_on};

use super::protocol::{Command, Facts, Load, ProtocolError, Reply};
use super::{Completion, Failure, Request};
use crate::clock::{Stopwatch, monotonic};
use crate::memory::group::ReasonerGroup;

/// Hashing and mapping the largest model from a slow disk stays below this.
const LOAD_LIMIT: Duration = Duration::from_mins(5);
/// How long an answer that is late may still come before the process is replaced.
const GRACE: Duration = Duration::from_secs(3);
/// How long an ended process may take to be collected.
const REAP_LIMIT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What the process inherits; the guard's secrets stay behind.
const INHERITED: [&str; 6] =
    ["PATH", "LD_LIBRARY_PATH", "RUST_LOG", "RUST_BACKTRACE", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];
/// How often a thread of the process looks for the others before it sleeps, where the operator has not set it:
/// for a fraction of a millisecond, longer than others take for their share of a product of matrices. Sleeping
/// at once takes more than twice as long on a machine that is otherwise idle. Next to other work on every core
/// spinning is the slower by far; there the measurement at start finds one thread best, which waits for nobody.
const WAITING: (&str, &str) = ("GOMP_SPINCOUNT", "20000");
/// llama.cpp that gives up has a debugger write where, for seconds and pages; the restart should not wait for that.
const NO_DEBUGGER: (&str, &str) = ("GGML_NO_BACKTRACE", "1");

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Run with the single argument `reasoner`.
    pub program: PathBuf,
    pub load: Load,
    /// Where the process is put before it loads anything.
    pub group: Option<ReasonerGroup>,
}

/// What the process is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// With a context of so many tokens.
    Run { context: u32 },
    /// Not there, until another order.
    Park { why: String },
}

/// A running reasoner. Dropping it ends the process.
#[derive(Debug)]
pub struct Reasoner {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
    orders: watch::Sender<Order>,
    /// Dropped with the handle, which the owning thread notices.
    _alive: oneshot::Sender<()>,
}

#[derive(Clone, Debug)]
enum State {
    Starting,
    Ready(Box<Facts>),
    /// Waiting to be started again.
    Down {
        why: String,
        /// The process itself said that it cannot load this; waiting alone will hardly help.
        refused: bool,
    },
}

impl State {
    fn not_running(&self) -> Failure {
        let why = match self {
            Self::Starting | Self::Ready(_) => "the model is still loading".to_owned(),
            Self::Down { why, .. } => why.clone(),
        };
        Failure::NotRunning { why }
    }
}

impl Reasoner {
    /// Starts the process in the background; [`Self::ready`] waits for it.
    ///
    /// # Errors
    /// When the thread or its event loop cannot be made. What goes wrong with the process itself shows in
    /// [`Self::ready`] and [`Self::ask`], and it is started again.
    pub fn start(launch: Launch) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (asks, asked) = mpsc::channel(1);
        let (shown, state) = watch::channel(State::Starting);
        let (alive, dropped) = oneshot::channel();
        let (orders, ordered) = watch::channel(Order::Run { context: launch.load.context });
        std::thread::Builder::new().name("reasoner-guard".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut keeper = Keeper { launch, asked, shown, ordered, child: None, pause: FIRST_PAUSE };
                tokio::select! {
                    () = keeper.keep_running() => {}
                    _ = dropped => {}
                }
                keeper.end().await;
            });
        })?;
        Ok(Self { asks, state, orders, _alive: alive })
    }

    /// Asks once, and never takes longer than the request's deadline. Returns at once while the model is
    /// not loaded. Where more ask than the process answers at once, the others wait.
    pub async fn ask(&self, request: Request) -> Result<Completion, Failure> {
        let since = Stopwatch::start();
        let deadline = request.deadline.try_into().unwrap_or(Duration::ZERO);
        if !matches!(*self.state.borrow(), State::Ready(_)) {
            return Err(self.state.borrow().not_running());
        }
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.asks.send(Ask { request, since, reply }).await.ok();
            answer.await
        };
        match timeout(deadline, exchange).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::NotRunning { why: "it was ended before it answered".to_owned() }),
            Err(_) => Err(Failure::late(deadline)),
        }
    }

    /// Waits until the model is loaded, but not after it was refused.
    pub async fn ready(&self, limit: Duration) -> Result<Facts, Failure> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|s| matches!(s, State::Ready(_) | State::Down { refused: true, .. }));
        let settled = match timeout(limit, settled).await {
            Ok(Ok(settled)) => settled.clone(),
            Ok(Err(_)) | Err(_) => self.state.borrow().clone(),
        };
        match settled {
            State::Ready(facts) => Ok(*facts),
            State::Starting | State::Down { .. } => Err(settled.not_running()),
        }
    }

    /// Where orders are given, for as long as this handle lives.
    pub fn orders(&self) -> watch::Sender<Order> {
        self.orders.clone()
    }

    /// What is loaded now.
    pub fn facts(&self) -> Option<Facts> {
        match &*self.state.borrow() {
            State::Ready(facts) => Some(Facts::clone(facts)),
            State::Starting | State::Down { .. } => None,
        }
    }
}

/// Owns the process.
struct Keeper {
    launch: Launch,
    asked: mpsc::Receiver<Ask>,
    shown: watch::Sender<State>,
    ordered: watch::Receiver<Order>,
    child: Option<Child>,
    pause: Duration,
}

/// The process cannot be used any more. Made by [`Keeper::lost`] alone, so that this shows at once.
struct Lost(State);

impl Keeper {
    async fn keep_running(&mut self) {
        let mut ordered = self.ordered.clone();
        loop {
            let order = ordered.borrow_and_update().clone();
            match order {
                Order::Park { why } => {
                    let down = State::Down { why, refused: false };
                    self.shown.send_replace(down.clone());
                    declining(&mut self.asked, &down, changed(&mut ordered)).await;
                }
                Order::Run { context } => {
                    self.launch.load.context = context;
                    let ended = tokio::select! {
                        Lost(down) = self.one_life() => Some(down),
                        () = changed(&mut ordered) => None,
                    };
                    self.end().await;
                    let Some(down) = ended else { continue };
                    let pause = self.pause;
                    self.pause = (pause * 2).min(LONGEST_PAUSE);
                    let over = timeout(pause, changed(&mut ordered));
                    declining(&mut self.asked, &down, over).await.ok();
                }
            }
        }
    }

    /// Kills the process, if there is one, and collects it.
    async fn end(&mut self) {
        if let Some(mut child) = self.child.take()
            && !matches!(timeout(REAP_LIMIT, child.kill()).await, Ok(Ok(())))
        {
            tracing::warn!("the reasoner process could not be collected yet");
        }
    }

    fn lost(&self, why: impl Into<String>, refused: bool) -> Lost {
        let why = why.into();
        tracing::warn!(why, again_in_ms = self.pause.as_millis() as u64, "reasoner lost");
        let down = State::Down { why, refused };
        self.shown.send_replace(down.clone());
        Lost(down)
    }

    /// From the start of a process to its loss.
    async fn one_life(&mut self) -> Lost {
        self.shown.send_replace(State::Starting);
        let mut pipes = match self.spawn() {
            Ok(pipes) => pipes,
            Err(error) => {
                let program = self.launch.program.display();
                return self.lost(format!("{program} cannot be started: {error}"), false);
            }
        };
        let load = Command::Load(self.launch.load.clone());
        let loading = timeout(LOAD_LIMIT, async {
            pipes.send(&load)?;
            pipes.receive().await
        });
        let facts = match declining(&mut self.asked, &State::Starting, loading).await {
            Ok(Ok(Reply::Loaded(facts))) => facts,
            Ok(Ok(Reply::Refused { why })) => return self.lost(why, true),
            Ok(Ok(Reply::Answer { .. })) => return self.lost("it answered before it was asked", false),
            Ok(Err(broken)) => {
                let failure = self.failure(broken, &mut pipes.log).await;
                return self.lost(format!("while loading the model: {failure}"), false);
            }
            Err(_) => {
                return self.lost(format!("loading took longer than {} s", LOAD_LIMIT.as_secs()), false);
            }
        };
        let Facts { pid, load_ms, threads, probed, sha256, .. } = &facts;
        tracing::info!(pid, load_ms, threads, ?probed, sha256, "reasoner ready");
        // Another number of threads could change a sum, and so a reply: measured once a run.
        self.launch.load.threads = facts.threads;
        self.shown.send_replace(State::Ready(Box::new(facts)));

        self.serve(pipes).await
    }

    /// Passes questions on and answers back, until the process can no longer be trusted with another.
    async fn serve(&mut self, mut pipes: Pipes) -> Lost {
        let at_once = self.launch.load.sequences.max(1) as usize;
        let mut id = 0;
        let mut asked = BTreeMap::<u64, Asked>::new();
        let (why, failure) = loop {
            let due = asked.values().map(|a| a.due).min();
            tokio::select! {
                biased;
                Some(ask) = self.asked.recv(), if asked.len() < at_once => {
                    let Some((request, waiting)) = Asked::new(ask) else { continue };
                    id += 1;
                    asked.insert(id, waiting);
                    if let Err(broken) = pipes.send(&Command::Ask { id, request }) {
                        break self.failure(broken, &mut pipes.log).await.told();
                    }
                }
                reply = pipes.receive() => match reply {
                    Ok(Reply::Answer { id, result }) if asked.contains_key(&id) => {
                        self.pause = FIRST_PAUSE;
                        if let Some(answered) = asked.remove(&id) {
                            answered.answer(result);
                        }
                    }
                    Ok(other) => {
                        let found = named(&other);
                        let what = format!("expected the answer to a question, found {found}");
                        break Failure::Garbled { what }.told();
                    }
                    Err(broken) => break self.failure(broken, &mut pipes.log).await.told(),
                },
                () = sleep_until(due.unwrap_or_else(monotonic)), if due.is_some() => {
                    let now = monotonic();
                    if asked.values_mut().filter(|a| a.due <= now).any(Asked::is_given_up) {
                        let why = format!("it was {} s late and was ended", GRACE.as_secs());
                        break (why.clone(), Failure::Died { how: why });
                    }
                }
                status = exit(self.child.as_mut()), if asked.is_empty() => {
                    let how = pipes.log.obituary(status).await;
                    break (how.clone(), Failure::Died { how });
                }
            }
        };
        let lost = self.lost(why, false);
        for waiting in asked.into_values() {
            waiting.answer(Err(failure.clone()));
        }
        lost
    }

    /// What a broken exchange means: the process is gone, or it talks nonsense.
    async fn failure(&mut self, broken: ProtocolError, log: &mut Log) -> Failure {
        match broken {
            ProtocolError::Io(_) => {
                let status = timeout(REAP_LIMIT, exit(self.child.as_mut())).await.ok().flatten();
                Failure::Died { how: log.obituary(status).await }
            }
            ProtocolError::TooLong(_) | ProtocolError::Json(_) => {
                Failure::Garbled { what: broken.to_string() }
            }
        }
    }

    fn spawn(&mut self) -> std::io::Result<Pipes> {
        let mut program = Program::new(&self.launch.program);
        program
            .arg("reasoner")
            .env_clear()
            .env(WAITING.0, WAITING.1)
            .env(NO_DEBUGGER.0, NO_DEBUGGER.1)
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C is for the guard, which ends the process when it has no more questions.
            .process_group(0)
            .kill_on_drop(true);
        let child = self.child.insert(program.spawn()?);
        if let (Some(group), Some(pid)) = (&self.launch.group, child.id())
            && let Err(why) = group.admit(pid)
        {
            tracing::warn!(%why, "the reasoner is not in a control group of its own");
        }
        let missing = || std::io::Error::other("a pipe is missing");
        let last = Arc::default();
        let ended = tokio::spawn(pass_on(child.stderr.take().ok_or_else(missing)?, Arc::clone(&last)));
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok(Pipes::new(input, output, Log { last, ended }))
    }
}

/// Waits for `future`, telling everyone who asks meanwhile that the model is not running.
async fn declining<T>(asked: &mut mpsc::Receiver<Ask>, state: &State, future: impl Future<Output = T>) -> T {
    tokio::pin!(future);
    loop {
        tokio::select! {
            done = &mut future => return done,
            Some(ask) = asked.recv() => ask.answer(Err(state.not_running())),
        }
    }
}

/// Resolves with the next order. The handle owns the other end: when that is gone, so is the keeper.
async fn changed(ordered: &mut watch::Receiver<Order>) {
    if ordered.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Failure {
    /// In words, and itself.
    fn told(self) -> (String, Self) {
        (self.to_string(), self)
    }
}

async fn exit(child: Option<&mut Child>) -> Option<ExitStatus> {
    child?.wait().await.ok()
}

fn named(reply: &Reply) -> String {
    match reply {
        Reply::Loaded(_) => "a report of loading".to_owned(),
        Reply::Refused { .. } => "a refusal to load".to_owned(),
        Reply::Answer { id, .. } => format!("the answer to question {id}"),
    }
}
