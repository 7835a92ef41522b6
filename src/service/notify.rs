//! What a service manager is told (systemd's `sd_notify`); nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;

/// Beats for the manager's watchdog. They come from the control loop itself, so that one that hangs is
/// noticed and started again; until then the plant's own watchdog on the heartbeat has it.
pub(super) struct Watchdog(Option<tokio::time::Interval>);

impl Watchdog {
    pub(super) fn start() -> Self {
        let beat = |limit: Duration| {
            let mut beat = tokio::time::interval(limit / 3);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            beat
        };
        Self(sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()).map(beat))
    }

    /// Beats, once it is time to; for ever away where nobody watches.
    pub(super) async fn beat(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}

pub(super) fn ready(site: &str) {
    let status = format!("site {site}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

pub(super) fn stopping(why: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(why)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
