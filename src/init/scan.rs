//! Looks through ranges of a Modbus device's registers. Only ever reads.

use std::str::FromStr;
use std::time::Duration;

use crate::ingest::modbus::{Bus, Exception, ModbusError};
use crate::site::{Device, Name, Table};

/// Registers asked for at once.
const BLOCK: u16 = 50;
/// Between two requests: a device has other work.
const PAUSE: Duration = Duration::from_millis(20);
/// Registers looked through in one scan.
const MOST: u16 = 5000;

/// `NAME=HOST[:PORT][/UNIT]:TABLE:FROM-TO`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scan {
    pub(super) name: Name,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) unit: u8,
    pub(super) table: Table,
    /// As on the wire.
    pub(super) from: u16,
    pub(super) to: u16,
}

impl FromStr for Scan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            format!(
                "{text:?}: {why}; expected NAME=HOST[:PORT][/UNIT]:TABLE:FROM-TO, such as plant=10.0.0.5:502/1:holding:0-99"
            )
        };
        let (name, rest) = text.split_once('=').ok_or_else(|| bad("no name"))?;
        let name = name.trim().parse::<Name>().map_err(|e| bad(&e.to_string()))?;
        let mut parts = rest.rsplitn(3, ':');
        let (Some(range), Some(table), Some(peer)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("no table or range"));
        };
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let number = |s: &str| s.trim().parse::<u16>().map_err(|_| bad("the range is not two numbers"));
        let (from, to) = (number(from)?, number(to)?);
        if to < from || to - from >= MOST {
            return Err(bad(&format!("at most {MOST} registers, the first one first")));
        }
        let table = match table {
            "holding" => Table::Holding,
            "input" => Table::Input,
            "coil" => Table::Coil,
            "discrete" => Table::Discrete,
            _ => return Err(bad("the table is none of holding, input, coil, discrete")),
        };
        let (peer, unit) = match peer.rsplit_once('/') {
            Some((peer, unit)) => (peer, unit.parse().map_err(|_| bad("the unit is not 0 to 255"))?),
            None => (peer, 1),
        };
        let (host, port) = super::host_and_port(peer, 502).map_err(|e| bad(&e))?;
        Ok(Self { name, host, port, unit, table, from, to })
    }
}

impl Scan {
    pub(super) fn device(&self) -> Result<Device, String> {
        let host = toml::Value::String(self.host.clone());
        let text =
            format!("name = \"{}\"\nhost = {host}\nport = {}\nunit = {}", self.name, self.port, self.unit);
        toml::from_str(&text).map_err(|e| e.to_string())
    }
}

/// What a range holds: address and word of each register that answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Found {
    pub(super) words: Vec<(u16, u16)>,
    /// Why it is not all that was asked for.
    pub(super) trouble: Option<String>,
    /// The device said something, be it that it has no such registers.
    pub(super) answered: bool,
}

/// Reads a range in blocks; a block that the device refuses is halved until what it does have is found.
pub(super) async fn read(bus: &Bus, scan: &Scan) -> Found {
    let mut found = Found::default();
    let mut open: Vec<(u16, u16)> = Vec::new();
    let mut next = u32::from(scan.from);
    while next <= u32::from(scan.to) {
        let Ok(at) = u16::try_from(next) else { break };
        let count = (scan.to - at).min(BLOCK - 1) + 1;
        open.push((at, count));
        next += u32::from(count);
    }
    open.reverse();
    while let Some((at, count)) = open.pop() {
        tokio::time::sleep(PAUSE).await;
        let reply = bus.read(&scan.name, scan.table, at, count).await;
        found.answered |= matches!(reply, Ok(_) | Err(ModbusError::Refused(_)));
        match reply {
            Ok(words) => found.words.extend((at..=at + (count - 1)).zip(words)),
            Err(ModbusError::Refused(Exception::ILLEGAL_ADDRESS | Exception::ILLEGAL_VALUE)) if count > 1 => {
                let half = count / 2;
                open.push((at + half, count - half));
                open.push((at, half));
            }
            Err(ModbusError::Refused(Exception::ILLEGAL_ADDRESS | Exception::ILLEGAL_VALUE)) => {}
            Err(e) => {
                found.trouble = Some(format!("{} {:?} {at}: {e}", scan.name, scan.table).to_lowercase());
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_says() {
        let scan: Scan = "plant=10.0.0.5/7:input:10-19".parse().unwrap();
        assert_eq!((scan.port, scan.unit, scan.table, scan.from, scan.to), (502, 7, Table::Input, 10, 19));
        let scan: Scan = "c1=[::1]:1502:holding:5".parse().unwrap();
        assert_eq!((scan.host.as_str(), scan.port, scan.from, scan.to), ("::1", 1502, 5, 5));
        assert_eq!(scan.device().unwrap().port, 1502);
        for bad in [
            "",
            "plant",
            "p=h:holding",
            "p=h:holding:9-1",
            "p=h:holding:0-9999",
            "P=h:holding:0",
            "p=h:x:0",
            "p=h/x:coil:0",
        ] {
            let why = bad.parse::<Scan>().unwrap_err();
            assert!(why.contains("expected NAME=HOST"), "{bad}: {why}");
        }
    }
}
