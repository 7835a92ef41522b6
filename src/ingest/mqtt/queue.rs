//! Between the task that keeps the connection alive and the one that uses what it brings.
//!
//! The connection's task must never wait, or the broker takes it for dead. So this queue always takes
//! more, and when its user has fallen far behind forgets the *oldest* readings: for control the newest
//! count. What was forgotten is reported, never silent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::SourceEvent;

/// Readings that may wait: about half a minute of 3,000 a second, some 10 MB.
const MOST_READINGS: usize = 100_000;
const READING_BYTES: usize = 100;

#[derive(Default, Debug)]
struct Inner {
    events: VecDeque<SourceEvent>,
    readings: usize,
    forgotten: u64,
    closed: bool,
}

#[derive(Default, Debug)]
struct Shared {
    inner: Mutex<Inner>,
    arrived: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where events go in. The queue is closed when it is dropped.
#[derive(Debug)]
pub(super) struct Sink(Arc<Shared>);

/// What the source brings, in order of arrival.
#[derive(Debug)]
pub struct Events(Arc<Shared>);

pub(super) fn queue() -> (Sink, Events) {
    let shared = Arc::new(Shared::default());
    (Sink(shared.clone()), Events(shared))
}

fn weight(event: &SourceEvent) -> usize {
    match event {
        SourceEvent::Readings { readings, .. } => readings.len().max(1),
        // Anyone may send these, and large ones: a flood must not fill the memory.
        SourceEvent::Announced(message) => 1 + message.len() / READING_BYTES,
        SourceEvent::Up
        | SourceEvent::Down { .. }
        | SourceEvent::Denied { .. }
        | SourceEvent::Silent { .. }
        | SourceEvent::Malformed { .. }
        | SourceEvent::Overrun { .. } => 0,
    }
}

impl Sink {
    pub(super) fn push(&self, event: SourceEvent) {
        let mut inner = self.0.lock();
        inner.readings += weight(&event);
        inner.events.push_back(event);
        while inner.readings > MOST_READINGS
            && let Some(oldest) = inner.events.iter().position(|e| weight(e) > 0)
            && let Some(event) = inner.events.remove(oldest)
        {
            inner.readings -= weight(&event);
            inner.forgotten += 1;
        }
        drop(inner);
        self.0.arrived.notify_one();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.arrived.notify_one();
    }
}

impl Events {
    /// The next event; `None` when the source has been closed and everything was taken.
    pub async fn recv(&mut self) -> Option<SourceEvent> {
        loop {
            // Looked at before the queue: a source that is closed by then has put in its last.
            let closed = self.0.lock().closed;
            if let Some(event) = self.try_recv() {
                return Some(event);
            }
            if closed {
                return None;
            }
            // What arrives meanwhile leaves a permit here.
            self.0.arrived.notified().await;
        }
    }

    /// The next event, if one is waiting.
    pub fn try_recv(&mut self) -> Option<SourceEvent> {
        let mut inner = self.0.lock();
        if inner.forgotten > 0 {
            let messages = std::mem::take(&mut inner.forgotten);
            return Some(SourceEvent::Overrun { messages });
        }
        let event = inner.events.pop_front()?;
        inner.readings -= weight(&event);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{Origin, Reading};
    use crate::units::{Finite, Unit};

    fn readings(n: usize) -> SourceEvent {
        let reading = Reading {
            name: "a".parse().unwrap(),
            value: Finite::ZERO,
            unit: Unit::Count,
            time: jiff::Timestamp::UNIX_EPOCH,
            received: jiff::Timestamp::UNIX_EPOCH,
            origin: Origin::default(),
        };
        SourceEvent::Readings { time: None, readings: vec![reading; n] }
    }

    #[tokio::test]
    async fn forgets_the_oldest_readings_and_says_so() {
        let (sink, mut events) = queue();
        sink.push(readings(1));
        sink.push(SourceEvent::Up);
        sink.push(readings(MOST_READINGS));
        drop(sink);
        assert_eq!(events.recv().await, Some(SourceEvent::Overrun { messages: 1 }));
        assert_eq!(events.recv().await, Some(SourceEvent::Up), "what is not a reading is kept");
        assert_eq!(events.recv().await, Some(readings(MOST_READINGS)));
        assert_eq!(events.recv().await, None);
    }

    #[tokio::test]
    async fn wakes_a_waiting_receiver() {
        let (sink, mut events) = queue();
        let waiting = tokio::spawn(async move { events.recv().await });
        tokio::task::yield_now().await;
        sink.push(SourceEvent::Up);
        assert_eq!(waiting.await.unwrap(), Some(SourceEvent::Up));
    }
}
