//! One TCP connection, and the task that alone uses it.
//!
//! A connection is shared by all units behind it: one request at a time, in turn from each unit's own
//! queue. What can go wrong is answered where it happens:
//! - a unit that says nothing costs its own timeout, then its breaker opens and the others go on;
//! - after a timeout the socket is dropped, so that a late reply has nowhere to arrive;
//! - a connection is not opened again before `reopen_after`, and later each time it fails;
//! - a connection that worked and is found closed is opened again, and a read asked again, once; a write
//!   never is;
//! - what is read after an interruption is marked by a new epoch, because devices that start up tell
//!   nonsense; a peer whose habit is to close idle connections is not interrupted.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_modbus::client::{Client, Context, rtu, tcp};
use tokio_modbus::slave::{Slave, SlaveContext};
use tokio_modbus::{Request, Response};

use super::error::{Exception, LinkCause, ModbusError};
use super::plan::Place;
use crate::clock::monotonic;
use crate::envelope::Words;
use crate::ingest::backoff::Backoff;
use crate::site::{Device, Framing, Table};

/// A connection unused for this long is idle.
const IDLE: Duration = Duration::from_secs(1);
/// Found closed after idling this many times in a row: a habit.
const HABIT: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A unit that misses this many answers in a row is left alone for a while.
const MISSES: u32 = 2;
const SHORTEST_TRIP: Duration = Duration::from_secs(5);
const LONGEST_TRIP: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Read(Place),
    Write { address: u16, words: Words },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// Registers, or bits as 0 and 1; empty for a write.
    pub(super) words: Vec<u16>,
    /// Changes whenever the link to the unit was interrupted.
    pub(super) epoch: u64,
}

pub(super) type Reply = Result<Answer, ModbusError>;

pub(super) struct Job {
    /// Index among the endpoint's units.
    pub(super) unit: usize,
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Reply>,
}

pub(super) struct Endpoint {
    host: String,
    port: u16,
    framing: Framing,
    reopen_after: Duration,
    link: Link,
    backoff: Backoff,
    idle_closes: u32,
    units: Vec<Unit>,
    /// Whose queue is looked at first: the unit after the one served last.
    turn: usize,
    /// Not before this, for the sake of devices that need a pause between frames.
    quiet_until: Instant,
}

enum Link {
    Up {
        context: Context,
        /// When something last came back on this very connection.
        used: Option<Instant>,
    },
    /// It worked and was closed, by us or by the peer: worth waiting for.
    Closed { reopen: Instant },
    /// Connecting failed.
    Down { until: Instant, kind: io::ErrorKind },
}

struct Unit {
    id: u8,
    timeout: Duration,
    inter_frame_delay: Duration,
    queue: VecDeque<Job>,
    epoch: u64,
    misses: u32,
    tripped_until: Option<Instant>,
    trip: Backoff,
}

impl Unit {
    fn new(device: &Device) -> Self {
        Self {
            id: device.unit,
            timeout: device.timeout.unsigned_abs(),
            inter_frame_delay: device.inter_frame_delay.unsigned_abs(),
            queue: VecDeque::new(),
            epoch: 0,
            misses: 0,
            tripped_until: None,
            trip: Backoff::new(SHORTEST_TRIP, LONGEST_TRIP),
        }
    }

    fn answered(&mut self) {
        self.misses = 0;
        self.tripped_until = None;
        self.trip.reset();
    }

    /// After the pause one more try is let through, and its miss trips the breaker again at once.
    fn missed(&mut self) {
        self.epoch += 1;
        self.misses = self.misses.saturating_add(1);
        if self.misses >= MISSES {
            self.tripped_until = Some(monotonic() + self.trip.next());
        }
    }

    fn tripped_for(&self) -> Option<Duration> {
        self.tripped_until?.checked_duration_since(monotonic()).filter(|d| !d.is_zero())
    }
}

impl Endpoint {
    /// `devices` share a host, a port and a framing.
    pub(super) fn new(host: String, port: u16, framing: Framing, devices: &[&Device]) -> Self {
        let reopen_after = devices.iter().map(|d| d.reopen_after.unsigned_abs()).max().unwrap_or_default();
        Self {
            host,
            port,
            framing,
            reopen_after,
            link: Link::Closed { reopen: monotonic() },
            backoff: Backoff::new(reopen_after, LONGEST_PAUSE.max(reopen_after)),
            idle_closes: 0,
            units: devices.iter().map(|d| Unit::new(d)).collect(),
            turn: 0,
            quiet_until: monotonic(),
        }
    }

    /// Serves until every asker has gone.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            let waiting = self.units.iter().any(|u| !u.queue.is_empty());
            if !waiting {
                match jobs.recv().await {
                    Some(job) => self.enqueue(job),
                    None => return,
                }
            }
            while let Ok(job) = jobs.try_recv() {
                self.enqueue(job);
            }
            let Some(job) = self.next_job() else { continue };
            // Nobody waits for it any more: above all, a write that was given up is not sent.
            if job.reply.is_closed() {
                continue;
            }
            let reply = self.serve(job.unit, job.ask).await;
            if job.reply.send(reply).is_err() {
                tracing::debug!(endpoint = self.name(), "the asker left before the answer came");
            }
        }
    }

    fn enqueue(&mut self, job: Job) {
        if let Some(unit) = self.units.get_mut(job.unit) {
            unit.queue.push_back(job);
        }
    }

    fn next_job(&mut self) -> Option<Job> {
        let count = self.units.len();
        let order = (0..count).map(|i| (self.turn + i) % count);
        let index = order.into_iter().find(|i| self.units.get(*i).is_some_and(|u| !u.queue.is_empty()))?;
        self.turn = (index + 1) % count;
        self.units.get_mut(index)?.queue.pop_front()
    }

    async fn serve(&mut self, unit: usize, ask: Ask) -> Reply {
        let reply = self.ask(unit, ask).await;
        let found_closed = matches!(reply, Err(ModbusError::Link { cause: LinkCause::Lost(_), .. }))
            && matches!(self.link, Link::Closed { .. });
        if found_closed && matches!(ask, Ask::Read(_)) { self.ask(unit, ask).await } else { reply }
    }

    async fn ask(&mut self, index: usize, ask: Ask) -> Reply {
        let Some(unit) = self.units.get(index) else { return Err(ModbusError::Mismatch) };
        if let Some(retry_in) = unit.tripped_for() {
            return Err(ModbusError::Tripped { retry_in });
        }
        self.open().await?;
        sleep_until(self.quiet_until).await;
        let (Link::Up { context, used }, Some(unit)) = (&mut self.link, self.units.get_mut(index)) else {
            return Err(ModbusError::Link { endpoint: self.name(), cause: LinkCause::ShutDown });
        };
        let idle = used.map(|at| monotonic().saturating_duration_since(at) >= IDLE);
        context.set_slave(Slave(unit.id));
        let outcome = timeout(unit.timeout, context.call(request(ask))).await;
        let now = monotonic();
        self.quiet_until = now + unit.inter_frame_delay;
        if matches!(outcome, Ok(Ok(_))) {
            *used = Some(now);
            self.backoff.reset();
            self.idle_closes = if idle == Some(true) { 0 } else { self.idle_closes };
        }
        let failure = match outcome {
            Ok(Ok(Ok(response))) => match matching(ask, response) {
                Some(words) => {
                    unit.answered();
                    return Ok(Answer { words, epoch: unit.epoch });
                }
                None => ModbusError::Mismatch,
            },
            Ok(Ok(Err(code))) => {
                let exception = Exception(code.into());
                if exception == Exception::NO_RESPONSE {
                    unit.missed();
                } else {
                    unit.answered();
                }
                return Err(ModbusError::Refused(exception));
            }
            Ok(Err(tokio_modbus::Error::Transport(error))) => {
                self.lost(idle, error.kind());
                let cause = LinkCause::Lost(error.kind());
                return Err(ModbusError::Link { endpoint: self.name(), cause });
            }
            Ok(Err(tokio_modbus::Error::Protocol(_))) => ModbusError::Mismatch,
            Err(_) => ModbusError::Timeout(unit.timeout),
        };
        unit.missed();
        self.link = Link::Closed { reopen: now + self.reopen_after };
        Err(failure)
    }

    /// `idle`: whether the connection had been idle; `None` when nothing had ever come back on it, which
    /// counts as a failed attempt to connect.
    fn lost(&mut self, idle: Option<bool>, kind: io::ErrorKind) {
        let Some(idle) = idle else {
            self.failed(kind);
            return;
        };
        self.link = Link::Closed { reopen: monotonic() + self.reopen_after };
        self.idle_closes = if idle { self.idle_closes.saturating_add(1) } else { 0 };
        if self.idle_closes < HABIT {
            self.interrupted();
        }
    }

    fn interrupted(&mut self) {
        for unit in &mut self.units {
            unit.epoch += 1;
        }
    }

    fn failed(&mut self, kind: io::ErrorKind) -> Duration {
        let pause = self.backoff.next();
        self.link = Link::Down { until: monotonic() + pause, kind };
        self.interrupted();
        pause
    }

    async fn open(&mut self) -> Result<(), ModbusError> {
        let link_error = |cause| ModbusError::Link { endpoint: self.name(), cause };
        match self.link {
            Link::Up { .. } => return Ok(()),
            Link::Closed { reopen } => sleep_until(reopen).await,
            Link::Down { until, kind } => {
                let retry_in = until.saturating_duration_since(monotonic());
                if !retry_in.is_zero() {
                    return Err(link_error(LinkCause::Connect { kind, retry_in }));
                }
            }
        }
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .and_then(|socket| socket.set_nodelay(true).map(|()| socket));
        match connected {
            Ok(socket) => {
                let context = match self.framing {
                    Framing::Tcp => tcp::attach(socket),
                    Framing::RtuOverTcp => rtu::attach(socket),
                };
                self.link = Link::Up { context, used: None };
                Ok(())
            }
            Err(error) => {
                let kind = error.kind();
                let retry_in = self.failed(kind);
                Err(ModbusError::Link { endpoint: self.name(), cause: LinkCause::Connect { kind, retry_in } })
            }
        }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn request(ask: Ask) -> Request<'static> {
    match ask {
        Ask::Read(Place { table, address, count }) => match table {
            Table::Holding => Request::ReadHoldingRegisters(address, count),
            Table::Input => Request::ReadInputRegisters(address, count),
            Table::Coil => Request::ReadCoils(address, count),
            Table::Discrete => Request::ReadDiscreteInputs(address, count),
        },
        Ask::Write { address, words: Words::One([word]) } => Request::WriteSingleRegister(address, word),
        Ask::Write { address, words: Words::Two(words) } => {
            Request::WriteMultipleRegisters(address, words.to_vec().into())
        }
    }
}

/// The words of a response that is the answer to `ask`, in kind, length and echo. The client library
/// checks these with `debug_assert` only, so its convenience functions are not used.
fn matching(ask: Ask, response: Response) -> Option<Vec<u16>> {
    let read = |place: Place, words: Vec<u16>| (words.len() == usize::from(place.count)).then_some(words);
    // Bits come in whole bytes.
    let bits = |place: Place, bits: Vec<bool>| {
        let count = usize::from(place.count);
        (bits.len() >= count).then(|| bits.into_iter().take(count).map(u16::from).collect())
    };
    match (ask, response) {
        (Ask::Read(p @ Place { table: Table::Holding, .. }), Response::ReadHoldingRegisters(words))
        | (Ask::Read(p @ Place { table: Table::Input, .. }), Response::ReadInputRegisters(words)) => {
            read(p, words)
        }
        (Ask::Read(p @ Place { table: Table::Coil, .. }), Response::ReadCoils(values))
        | (Ask::Read(p @ Place { table: Table::Discrete, .. }), Response::ReadDiscreteInputs(values)) => {
            bits(p, values)
        }
        (Ask::Write { address, words: Words::One([word]) }, Response::WriteSingleRegister(a, w)) => {
            (a == address && w == word).then(Vec::new)
        }
        (Ask::Write { address, words: Words::Two(_) }, Response::WriteMultipleRegisters(a, n)) => {
            (a == address && n == 2).then(Vec::new)
        }
        _ => None,
    }
}
