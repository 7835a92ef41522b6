//! The embedded MQTT broker.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a broker may take to open its port.
const OPENING: Duration = Duration::from_secs(10);

/// Starts a broker on the loopback interface; returns its port once it accepts connections. Port 0
/// picks a free one by binding it first.
pub(super) async fn start(port: u16) -> anyhow::Result<u16> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let probe =
        TcpListener::bind(listen).with_context(|| format!("the embedded broker cannot have {listen}"))?;
    let listen = probe.local_addr()?;
    drop(probe);
    // It keeps what it has passed on, for each topic up to the product of the segments' size and count: a
    // megabyte, some hundred frames.
    let config: rumqttd::Config = serde_json::from_value(serde_json::json!({
        "id": 0,
        "router": {
            "id": 0,
            "max_connections": 1000,
            "max_outgoing_packet_count": 200,
            "max_segment_size": 262_144,
            "max_segment_count": 4,
        },
        "v4": { "1": {
            "name": "v4",
            "listen": listen.to_string(),
            "next_connection_delay_ms": 1,
            "connections": {
                "connection_timeout_ms": 10_000,
                "max_payload_size": 1_048_576,
                "max_inflight_count": 200,
                "dynamic_filters": true,
            },
        }},
    }))
    .context("the embedded broker's settings")?;
    std::thread::Builder::new()
        .name("broker".into())
        .spawn(move || {
            if let Err(error) = rumqttd::Broker::new(config).start() {
                tracing::error!(%error, "the embedded broker stopped");
            }
        })
        .context("starting the broker's thread")?;
    let opened = async {
        while TcpStream::connect(listen).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(OPENING, opened).await.context("the embedded broker did not open its port")?;
    Ok(listen.port())
}
