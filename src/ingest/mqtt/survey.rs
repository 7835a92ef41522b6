//! Listens to whatever a broker has, for a first look at a site. Publishes nothing but what whoever listens wants asked.

use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, Packet, QoS, SubscribeReasonCode};

use super::config::{self, ConfigError};
use crate::clock;
use crate::site::Mqtt;

/// Requests that wait to be sent, at most.
const REQUESTS: usize = 100;

/// One message as it came.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// Kept by the broker from earlier: its age is not known.
    pub retained: bool,
    /// Since listening began.
    pub at: Duration,
}

/// Why a broker could not be listened to.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("broker {peer}: {source}")]
    Unreachable { peer: String, source: Box<ConnectionError> },
    #[error("broker {peer}: does not allow a subscription to {filter}; name topics that this user may read")]
    Denied { peer: String, filter: String },
}

/// What is published: topic and payload.
pub type Request = (String, Vec<u8>);

/// Hands over every message on these topic filters for so long. What `hear` gives back is asked of the broker's
/// other clients.
pub async fn survey(
    mqtt: &Mqtt,
    filters: &[String],
    span: Duration,
    mut hear: impl FnMut(Message<'_>) -> Option<Request>,
) -> Result<(), SurveyError> {
    let peer = format!("{}:{}", mqtt.host, mqtt.port);
    let id = mqtt.client_id.clone().unwrap_or_else(|| format!("isotherm-init-{}", std::process::id()));
    let (client, mut connection) = AsyncClient::new(config::client(mqtt, id)?, filters.len() + REQUESTS);
    let began = clock::monotonic();
    let end = tokio::time::sleep(span);
    tokio::pin!(end);
    loop {
        let event = tokio::select! {
            event = connection.poll() => event,
            () = &mut end => return Ok(()),
        };
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                for filter in filters {
                    if client.try_subscribe(filter, QoS::AtMostOnce).is_err() {
                        return Err(SurveyError::Denied { peer, filter: filter.clone() });
                    }
                }
            }
            Ok(Event::Incoming(Packet::SubAck(ack)))
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                return Err(SurveyError::Denied { peer, filter: filters.join(", ") });
            }
            Ok(Event::Incoming(Packet::Publish(message))) => {
                let request = hear(Message {
                    topic: &message.topic,
                    payload: &message.payload,
                    retained: message.retain,
                    at: clock::monotonic() - began,
                });
                // One that finds no room is made again, should it still be wanted.
                if let Some((topic, payload)) = request {
                    client.try_publish(topic, QoS::AtMostOnce, false, payload).ok();
                }
            }
            Ok(_) => {}
            Err(source) => return Err(SurveyError::Unreachable { peer, source: Box::new(source) }),
        }
    }
}
