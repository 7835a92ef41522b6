//! The broker: readings come in as [`SourceEvent`]s, decisions and status go out through [`MqttHandle`].
//!
//! One task keeps the connection and does nothing that can wait; a second watches for topics that have
//! fallen silent. After any failure the client is built anew, so that nothing of a lost session (old
//! requests, packet ids that collide) can follow into the next one.

mod config;
mod edge;
mod queue;
mod route;
mod session;
mod survey;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rumqttc::{AsyncClient, MqttOptions, QoS};
use tokio::task::JoinHandle;

pub use self::config::ConfigError;
pub(crate) use self::config::client as client_options;
pub use self::queue::Events;
use self::session::Session;
pub use self::survey::{Message, Request, SurveyError, survey};
use crate::ingest::Reading;
use crate::ingest::payload::Malformed;
use crate::site::Site;

/// The largest message that is sent.
const MAX_PACKET: usize = 1024 * 1024;
/// The largest that is taken in: a larger one ends the connection, and births of edge nodes are long.
const MAX_INCOMING: usize = 16 * MAX_PACKET;
const ONLINE: &str = "online";
const OFFLINE: &str = "offline";
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a source brings.
#[derive(Clone, PartialEq, Debug)]
pub enum SourceEvent {
    /// One message's worth of readings.
    Readings {
        /// The time stamp of the message, unless it was retained. With `clock = "frames"` it is the time.
        time: Option<Timestamp>,
        readings: Vec<Reading>,
    },
    /// A message on the topic on which jobs are announced, as it came. One that the broker had kept is not
    /// here: it may have been called off since.
    Announced(Vec<u8>),
    /// Connected and subscribed.
    Up,
    /// Not connected. Said once for each cause; it is tried again for ever.
    Down { why: String },
    /// The broker does not let us subscribe to this topic.
    Denied { topic: String },
    /// Connected, but nothing has come on this topic for as long as `mqtt.watchdog`.
    Silent { topic: String },
    /// A message that was not understood, in part or whole. Reported at most once a minute and topic.
    Malformed {
        topic: String,
        problem: Malformed,
        /// Messages of this topic not understood so far.
        count: u64,
    },
    /// The receiver fell behind, and this many messages were forgotten.
    Overrun { messages: u64 },
}

/// Why a message was not handed to the broker's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the broker is not connected")]
    NotConnected,
    #[error("the message takes {bytes} bytes; at most {MAX_PACKET} are sent")]
    TooLarge { bytes: usize },
    #[error("the connection is busy, or the topic has a wildcard")]
    NotTaken,
}

/// The connection. Clones share it; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct MqttHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `None` while not connected.
    client: Arc<Mutex<Option<AsyncClient>>>,
    status_topic: Option<String>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Connects to a site's broker, on the present tokio runtime, and stays connected. Returns at once;
/// whether it worked is an event.
pub fn connect(site: &Site) -> Result<(MqttHandle, Events), ConfigError> {
    Ok(hold(site, config::options(site)?, Some(status_topic(site))))
}

/// The same for somebody who only listens, perhaps beside a running agent: under another name, and without a word
/// on whether the agent is online.
pub fn visit(site: &Site) -> Result<(MqttHandle, Events), ConfigError> {
    Ok(hold(site, config::visitor(site)?, None))
}

fn hold(site: &Site, options: MqttOptions, status_topic: Option<String>) -> (MqttHandle, Events) {
    let (sink, events) = queue::queue();
    let client = Arc::new(Mutex::new(None));
    let session = Session::new(site, options, status_topic.clone(), client.clone(), sink);
    let tasks = vec![tokio::spawn(session.clone().watch()), tokio::spawn(session.run())];
    let shared = Shared { client, status_topic, tasks: Mutex::new(tasks) };
    (MqttHandle { shared: Arc::new(shared) }, events)
}

/// `online` while connected and `offline` otherwise, retained; the broker itself says `offline` when
/// the connection breaks.
#[must_use]
pub fn status_topic(site: &Site) -> String {
    format!("isotherm/{}/status", site.name)
}

impl MqttHandle {
    /// Hands a message to the connection, without waiting. Delivered at least once if the connection
    /// lasts; not kept for a later one.
    pub fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) -> Result<(), PublishError> {
        let bytes = payload.len() + topic.len() + 16;
        if bytes > MAX_PACKET {
            return Err(PublishError::TooLarge { bytes });
        }
        let client = self.client().ok_or(PublishError::NotConnected)?;
        client.try_publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|_| PublishError::NotTaken)
    }

    /// Says goodbye: status `offline`, then a proper disconnect, within two seconds.
    pub async fn close(self) {
        let Some(client) = self.client() else { return };
        let status = self.shared.status_topic.as_ref();
        let said = status.map_or(Ok(()), |topic| self.publish(topic, OFFLINE.into(), true));
        if said.is_err() || client.try_disconnect().is_err() {
            tracing::warn!("the broker was not told goodbye; it will notice by itself");
            return;
        }
        let tasks: Vec<_> =
            self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for mut task in tasks {
            if tokio::time::timeout(FAREWELL, &mut task).await.is_err() {
                task.abort();
            }
        }
    }

    fn client(&self) -> Option<AsyncClient> {
        self.shared.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
