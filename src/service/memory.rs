//! Watches the kernel's memory for the reasoner, and tells it what it may still have.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::Stopwatch;
use crate::memory::group::ReasonerGroup;
use crate::memory::kernel::Kernel;
use crate::memory::protect;
use crate::memory::{Change, Ladder, Reading, Rung};
use crate::reason::Order;
use crate::site::{Backend, Site};

/// Keeps the guard process in memory and last in the kernel's choice, as far as it is allowed to.
pub fn protect() {
    if let Err(why) = protect::lock() {
        tracing::warn!(%why, "the guard is not locked in memory");
    }
    if let Err(why) = protect::lower_score() {
        tracing::warn!(%why, "the guard's oom_score_adj stays as it is; the reasoner's is higher all the same");
    }
}

/// Control groups for the reasoner and for one beside it, where that is possible.
pub(super) fn groups(site: &Site) -> Option<(ReasonerGroup, ReasonerGroup)> {
    if site.model.backend != Backend::Local {
        return None;
    }
    let limit = site.model.memory_limit_mb.map(|mb| mb.saturating_mul(1_000_000));
    match ReasonerGroup::make(limit).and_then(|own| Ok((own.clone(), own.beside(limit)?))) {
        Ok(groups) => Some(groups),
        Err(why) => {
            tracing::info!(%why, "no control group for the reasoner alone");
            None
        }
    }
}

/// Reads the kernel once a period, beside the control loop, until the receiver is gone.
pub(super) fn readings(kernel: Kernel, every: Duration) -> mpsc::Receiver<Reading> {
    let (tx, rx) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut understood = true;
        loop {
            tick.tick().await;
            let reading = match kernel.sample() {
                Ok(reading) => reading,
                Err(error) => {
                    if understood {
                        tracing::warn!(%error, "memory is not watched until this can be read");
                    }
                    understood = false;
                    continue;
                }
            };
            understood = true;
            if tx.send(reading).await.is_err() {
                return;
            }
        }
    });
    rx
}

/// The ladder, with the reasoner at its other end.
pub(super) struct Watch {
    ladder: Ladder,
    began: Stopwatch,
    orders: watch::Sender<Order>,
    context: u32,
    small_context: u32,
    last: Option<Change>,
}

impl Watch {
    pub(super) fn new(site: &Site, orders: watch::Sender<Order>) -> Self {
        // The weights are most of what loading takes; a file that is not there will not be loaded.
        let file = site.model.path.as_deref().and_then(|p| p.metadata().ok());
        Self {
            ladder: Ladder::new(site.memory.clone(), file.map_or(0, |f| f.len())),
            began: Stopwatch::start(),
            orders,
            context: site.model.context,
            small_context: site.memory.small_context.min(site.model.context),
            last: None,
        }
    }

    pub(super) fn take(&mut self, reading: &Reading) -> Option<Change> {
        let change = self.ladder.step(self.began.elapsed(), reading)?;
        self.last = Some(change);
        Some(change)
    }

    /// The step that led to the present rung, where that is not the top one: a new run begins with it.
    pub(super) fn standing(&self) -> Option<Change> {
        self.last.filter(|c| c.to != Rung::Full)
    }

    /// Another process has taken the reasoner's place.
    pub(super) fn follow(&mut self, orders: watch::Sender<Order>) {
        self.orders = orders;
        if let Some(standing) = self.standing() {
            self.order(&standing);
        }
    }

    /// Makes the reasoner what a rung says. One that already is what it should be goes on as it is.
    pub(super) fn order(&self, change: &Change) {
        let order = match change.to {
            Rung::Full | Rung::Short => Order::Run { context: self.context },
            Rung::Small => Order::Run { context: self.small_context },
            Rung::Parked => Order::Park { why: format!("parked for want of memory ({})", change.cause) },
        };
        // From Short to Small it restarts even where the small context is no smaller: that drops its caches.
        let restart = change.from < Rung::Small && change.to == Rung::Small;
        self.orders.send_if_modified(|now| {
            let differs = *now != order || restart;
            *now = order;
            differs
        });
    }
}
