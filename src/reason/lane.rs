//! Questions answered side by side. One question at a time has all threads. Several are spread over lanes
//! instead, each with a thread and sequences of its own: threads that share one small product of matrices
//! mostly wait for each other, and those of two lanes never do.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::local::Engine;
use super::protocol::{self, Command, ProtocolError, Reply};

/// What one lane has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lane {
    pub(super) threads: u32,
    pub(super) sequences: u32,
}

impl Lane {
    /// As many as there are threads, but none without a sequence.
    pub(super) fn split(threads: u32, sequences: u32) -> Vec<Self> {
        let (threads, sequences) = (threads.max(1), sequences.max(1));
        let lanes = threads.min(sequences);
        let share = |of: u32, lane: u32| of / lanes + u32::from(lane < of % lanes);
        (0..lanes).map(|i| Self { threads: share(threads, i), sequences: share(sequences, i) }).collect()
    }
}

/// What the lanes have in common: the guard, at both ends.
pub(super) struct Guard<W> {
    questions: Mutex<Receiver<Result<Command, ProtocolError>>>,
    answers: Mutex<W>,
    /// No lane is to go on.
    gone: AtomicBool,
}

impl<W: Write> Guard<W> {
    pub(super) fn new(questions: Receiver<Result<Command, ProtocolError>>, answers: W) -> Self {
        Self { questions: Mutex::new(questions), answers: Mutex::new(answers), gone: AtomicBool::new(false) }
    }

    /// Runs one lane until the guard closes its pipe, or another lane fails.
    pub(super) fn serve(&self, engine: &mut Engine<'_>) -> Result<(), ProtocolError> {
        let ended = self.answer(engine);
        self.gone.store(true, Ordering::Relaxed);
        ended
    }

    fn answer(&self, engine: &mut Engine<'_>) -> Result<(), ProtocolError> {
        while !self.gone.load(Ordering::Relaxed) {
            // One a step: the first of several computes the beginning that they share, and the others copy
            // it.
            match self.next(engine) {
                Ok(command) => {
                    let Command::Ask { id, request } = command? else { return Ok(()) };
                    if let Some((id, result)) = engine.take(id, &request) {
                        self.write(&Reply::Answer { id, result })?;
                    }
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            for (id, result) in engine.step() {
                self.write(&Reply::Answer { id, result })?;
            }
        }
        Ok(())
    }

    /// An idle lane waits for a question; one that computes looks whether there is one, and leaves it to an
    /// idle lane where there is one.
    fn next(&self, engine: &Engine<'_>) -> Result<Result<Command, ProtocolError>, TryRecvError> {
        if engine.is_idle() {
            return lock(&self.questions).recv().map_err(|_| TryRecvError::Disconnected);
        }
        if !engine.has_room() {
            return Err(TryRecvError::Empty);
        }
        match self.questions.try_lock() {
            Ok(questions) => questions.try_recv(),
            Err(TryLockError::WouldBlock) => Err(TryRecvError::Empty),
            Err(TryLockError::Poisoned(_)) => Err(TryRecvError::Disconnected),
        }
    }

    fn write(&self, reply: &Reply) -> Result<(), ProtocolError> {
        protocol::write(&mut *lock(&self.answers), reply)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_sequences_are_shared_out() {
        let lanes = |threads, sequences| -> Vec<(u32, u32)> {
            Lane::split(threads, sequences).iter().map(|l| (l.threads, l.sequences)).collect()
        };
        assert_eq!(lanes(2, 1), [(2, 1)], "one question has every thread");
        assert_eq!(lanes(2, 5), [(1, 3), (1, 2)]);
        assert_eq!(lanes(8, 3), [(3, 1), (3, 1), (2, 1)]);
        assert_eq!(lanes(0, 0), [(1, 1)]);
    }
}
