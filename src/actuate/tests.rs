//! The writer against a device that misbehaves on demand.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Outcome, Writer, Written};
use crate::envelope::{SafeAction, Words};
use crate::ingest::modbus::{Bus, Exception, ModbusError};
use crate::site::{Name, Site, Table};

/// What the device does with its next write; afterwards it behaves.
#[derive(Clone, Copy, Debug)]
enum Trick {
    /// Says yes and does nothing.
    Lie,
    /// Does it and says nothing.
    ApplyInSilence,
    /// Neither does it nor answers.
    Ignore,
    Refuse(u8),
    /// Does it and closes the connection.
    ApplyAndHangUp,
    /// Says yes, and shows the value only after this many more reads.
    Slow(u32),
    /// Does it, a count or two lower.
    Round(u16),
}

#[derive(Default, Debug)]
struct Device {
    registers: BTreeMap<u16, u16>,
    tricks: VecDeque<Trick>,
    /// Slow writes: reads still to come before they show.
    pending: Vec<(u32, u16, Vec<u16>)>,
    /// Function codes received.
    log: Vec<u8>,
}

type Shared = Arc<Mutex<Device>>;

async fn start(tricks: &[Trick], tolerance: u16) -> (Shared, Bus, Site) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let device = Shared::default();
    device.lock().unwrap().tricks.extend(tricks);
    let shared = device.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, shared.clone()));
        }
    });
    let site = format!(
        r#"
        name = "test"
        plant = "air"
        [mqtt]
        host = "localhost"
        [model]
        backend = "none"
        [[device]]
        name = "plc"
        host = "127.0.0.1"
        port = {port}
        timeout = "200ms"
        reopen_after = "10ms"
        [[signal]]
        name = "inlet"
        unit = "degC"
        role = "it_inlet"
        source = {{ topic = "t" }}
        range = [5, 45]
        slew_per_min = 5
        [[setpoint]]
        name = "chws_sp"
        unit = "degC"
        register = {{ device = "plc", address = 10, scale = 0.1 }}
        read_back_tolerance = {tolerance}
        min = 6
        max = 16
        step = 0.5
        rate_per_min = 0.5
        safe = 8
        cools = "down"
        "#
    );
    let site = crate::site::parse(&site, Path::new("test.toml")).unwrap();
    let bus = Bus::open(&site);
    (device, bus, site)
}

async fn serve(mut socket: TcpStream, device: Shared) -> Option<()> {
    loop {
        let mut header = [0u8; 7];
        socket.read_exact(&mut header).await.ok()?;
        let mut pdu = vec![0u8; usize::from(u16::from_be_bytes([header[4], header[5]])) - 1];
        socket.read_exact(&mut pdu).await.ok()?;
        let (reply, hang_up) = device.lock().unwrap().answer(&pdu);
        if let Some(reply) = reply {
            let length = u16::try_from(reply.len() + 1).unwrap().to_be_bytes();
            let frame = [&header[..4], &length, &header[6..], &reply].concat();
            socket.write_all(&frame).await.ok()?;
        }
        if hang_up {
            return None;
        }
    }
}

impl Device {
    fn answer(&mut self, pdu: &[u8]) -> (Option<Vec<u8>>, bool) {
        let word = |i: usize| u16::from_be_bytes([pdu[i], pdu[i + 1]]);
        let (function, address) = (pdu[0], word(1));
        self.log.push(function);
        let words = match function {
            3 => {
                self.settle();
                let bytes = (0..word(3))
                    .flat_map(|i| self.registers.get(&(address + i)).copied().unwrap_or(0).to_be_bytes());
                let bytes: Vec<u8> = bytes.collect();
                return (Some([&[3, u8::try_from(bytes.len()).unwrap()], &bytes[..]].concat()), false);
            }
            6 => vec![word(3)],
            16 => (0..usize::from(word(3))).map(|i| word(6 + 2 * i)).collect(),
            _ => return (Some(vec![function | 0x80, 1]), false),
        };
        let yes = Some(pdu[..5].to_vec());
        let trick = self.tricks.pop_front();
        match trick {
            None | Some(Trick::ApplyInSilence | Trick::ApplyAndHangUp) => {
                self.registers.extend((address..).zip(words));
            }
            Some(Trick::Round(by)) => self.registers.extend((address..).zip(words.iter().map(|w| w - by))),
            Some(Trick::Slow(reads)) => self.pending.push((reads, address, words)),
            Some(Trick::Lie | Trick::Ignore | Trick::Refuse(_)) => {}
        }
        match trick {
            None | Some(Trick::Lie | Trick::Slow(_) | Trick::Round(_)) => (yes, false),
            Some(Trick::ApplyInSilence | Trick::Ignore) => (None, false),
            Some(Trick::Refuse(code)) => (Some(vec![function | 0x80, code]), false),
            Some(Trick::ApplyAndHangUp) => (None, true),
        }
    }

    fn settle(&mut self) {
        for (reads, address, words) in &mut self.pending {
            *reads = reads.saturating_sub(1);
            if *reads == 0 {
                self.registers.extend((*address..).zip(words.iter().copied()));
            }
        }
    }
}

async fn apply(tricks: &[Trick], writes: &[(&str, u16, Words)]) -> (Outcome, Shared) {
    let (device, bus, site) = start(tricks, 0).await;
    let outcome = Writer::new(bus, &site).apply(&SafeAction::unguarded(writes)).await;
    (outcome, device)
}

const ONE: (&str, u16, Words) = ("plc", 10, Words::One([85]));

fn writes_on_the_wire(device: &Shared) -> usize {
    device.lock().unwrap().log.iter().filter(|f| matches!(f, 6 | 16)).count()
}

#[tokio::test]
async fn writes_in_order_and_reads_back() {
    let (outcome, device) = apply(&[], &[ONE, ("plc", 20, Words::Two([0x1234, 0xABCD]))]).await;
    assert!(!outcome.release_needed);
    for (result, words) in outcome.writes.iter().zip([Words::One([85]), Words::Two([0x1234, 0xABCD])]) {
        assert_eq!((&result.result, result.read_back, result.tries), (&Written::Applied, Some(words), 1));
    }
    assert_eq!(device.lock().unwrap().registers, BTreeMap::from([(10, 85), (20, 0x1234), (21, 0xABCD)]));
    assert_eq!(device.lock().unwrap().log, [6, 3, 16, 3]);
}

#[tokio::test]
async fn a_heartbeat_is_sent_once_and_not_read_back() {
    let (device, bus, site) = start(&[Trick::Lie], 0).await;
    let writer = Writer::new(bus, &site);
    assert_eq!(writer.beat(&SafeAction::unguarded(&[ONE])).await, Ok(()));
    assert_eq!(device.lock().unwrap().log, [6]);
}

#[tokio::test]
async fn a_silent_write_is_looked_up_not_repeated() {
    for trick in [Trick::ApplyInSilence, Trick::ApplyAndHangUp] {
        let (outcome, device) = apply(&[trick], &[ONE]).await;
        assert_eq!(outcome.writes[0].result, Written::Applied, "{trick:?}");
        assert_eq!((outcome.writes[0].tries, writes_on_the_wire(&device)), (1, 1), "{trick:?}");
    }
}

#[tokio::test]
async fn a_lost_write_is_sent_again_once_the_register_shows_that_it_was_lost() {
    let (outcome, device) = apply(&[Trick::Ignore], &[ONE]).await;
    assert_eq!((&outcome.writes[0].result, outcome.writes[0].tries), (&Written::Applied, 2));
    assert_eq!(device.lock().unwrap().log, [6, 3, 6, 3]);
}

#[tokio::test]
async fn a_slow_device_gets_its_time() {
    let (outcome, device) = apply(&[Trick::Slow(4)], &[ONE]).await;
    assert_eq!((&outcome.writes[0].result, outcome.writes[0].tries), (&Written::Applied, 1));
    assert_eq!(writes_on_the_wire(&device), 1);
}

#[tokio::test]
async fn acknowledged_is_not_applied() {
    let (outcome, device) = apply(&[Trick::Lie; 3], &[ONE, ("plc", 11, Words::One([1]))]).await;
    assert!(outcome.release_needed);
    assert_eq!(outcome.writes[0].result, Written::NotApplied);
    assert_eq!((outcome.writes[0].read_back, outcome.writes[0].tries), (Some(Words::One([0])), 3));
    assert_eq!((&outcome.writes[1].result, outcome.writes[1].tries), (&Written::Skipped, 0));
    assert_eq!(
        outcome.trouble(),
        "setpoint chws_sp (device plc, register 10): acknowledged, but the register shows [0] instead of [85]; \
         setpoint chws_sp (device plc, register 11): not tried"
    );
    assert_eq!(writes_on_the_wire(&device), 3);
}

#[tokio::test]
async fn a_refusal_is_final_unless_the_device_is_busy() {
    let (outcome, device) = apply(&[Trick::Refuse(3)], &[ONE]).await;
    assert_eq!(outcome.writes[0].result, Written::Refused { exception: Exception(3) });
    assert!(outcome.release_needed);
    assert_eq!(writes_on_the_wire(&device), 1);

    let (outcome, _) = apply(&[Trick::Refuse(6)], &[ONE]).await;
    assert_eq!((&outcome.writes[0].result, outcome.writes[0].tries), (&Written::Applied, 2));
}

#[tokio::test]
async fn a_device_that_is_gone_is_a_link_failure() {
    let (outcome, _) = apply(&[Trick::Ignore; 3], &[("nobody", 1, Words::One([1]))]).await;
    assert!(
        matches!(&outcome.writes[0].result, Written::LinkFailed { why } if why.contains("nobody")),
        "{outcome:?}"
    );
    let json = serde_json::to_value(&outcome).unwrap();
    assert_eq!(json["writes"][0]["result"]["link_failed"]["why"].as_str().map(str::is_empty), Some(false));
    assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
}

/// A write that nobody waits for any more never reaches the wire.
#[tokio::test]
async fn a_write_that_was_given_up_is_not_sent() {
    let (device, bus, _) = start(&[Trick::Ignore], 0).await;
    let plc: Name = "plc".parse().unwrap();
    let first = SafeAction::unguarded(&[ONE]);
    let second = SafeAction::unguarded(&[("plc", 11, Words::One([1]))]);
    // The first write occupies the connection until its timeout; the second is given up while queued.
    let (slow, given_up) = tokio::join!(
        bus.write(&first.writes()[0]),
        tokio::time::timeout(Duration::from_millis(50), bus.write(&second.writes()[0]))
    );
    assert!(matches!(slow, Err(ModbusError::Timeout(_))));
    assert!(given_up.is_err());
    assert_eq!(bus.read(&plc, Table::Holding, 11, 1).await, Ok(vec![0]));
    assert_eq!(device.lock().unwrap().log, [6, 3]);
}

/// A device that rounds, as far as its profile says so and no further.
#[tokio::test]
async fn a_device_may_round_by_what_the_site_allows() {
    for (allowed, off, result) in
        [(0, 1, Written::NotApplied), (1, 1, Written::Applied), (1, 2, Written::NotApplied)]
    {
        let (_device, bus, site) = start(&[Trick::Round(off); 3], allowed).await;
        let outcome = Writer::new(bus, &site).apply(&SafeAction::unguarded(&[ONE])).await;
        assert_eq!(outcome.writes[0].result, result, "{off} of {allowed}");
        assert_eq!(outcome.writes[0].read_back, Some(Words::One([85 - off])));
    }
}
