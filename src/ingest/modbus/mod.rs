//! Modbus devices: one task per TCP connection, and a poller that reads a site's registers in blocks.

mod endpoint;
mod error;
mod plan;
mod poll;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use self::endpoint::{Answer, Ask, Endpoint, Job, Reply};
pub use self::error::{Exception, LinkCause, ModbusError};
use self::plan::Place;
pub use self::poll::{Polled, Poller, ReadFailure};
use crate::envelope::SafeWrite;
use crate::site::{Device, Name, Site, Table};

/// Jobs that may wait at one connection.
const QUEUE: usize = 1024;

/// The connections to all Modbus devices of a site. Clones share them; they close with the last clone.
#[derive(Clone, Debug)]
pub struct Bus {
    units: Arc<BTreeMap<Name, Port>>,
}

/// Where to hand in requests for one device.
#[derive(Clone, Debug)]
struct Port {
    jobs: mpsc::Sender<Job>,
    unit: usize,
}

impl Bus {
    /// Starts one task per endpoint, on the present tokio runtime. Nothing is connected before the first
    /// request, and a device that cannot be reached is an error of that request alone.
    #[must_use]
    pub fn open(site: &Site) -> Self {
        Self::to(&site.devices)
    }

    /// The same for devices that no site file names yet.
    #[must_use]
    pub fn to(devices: &[Device]) -> Self {
        let mut endpoints: Vec<Vec<&Device>> = Vec::new();
        for device in devices {
            let shared = endpoints.iter_mut().find(|devices| {
                devices.first().is_some_and(|d| {
                    d.host == device.host && d.port == device.port && d.framing == device.framing
                })
            });
            match shared {
                Some(devices) => devices.push(device),
                None => endpoints.push(vec![device]),
            }
        }
        let mut units = BTreeMap::new();
        for devices in endpoints {
            let Some(first) = devices.first() else { continue };
            let (jobs, queue) = mpsc::channel(QUEUE);
            let endpoint = Endpoint::new(first.host.clone(), first.port, first.framing, &devices);
            tokio::spawn(endpoint.run(queue));
            for (unit, device) in devices.iter().enumerate() {
                units.insert(device.name.clone(), Port { jobs: jobs.clone(), unit });
            }
        }
        Self { units: Arc::new(units) }
    }

    /// Reads `count` registers, or bits as 0 and 1, from `address` as on the wire.
    pub async fn read(
        &self,
        device: &Name,
        table: Table,
        address: u16,
        count: u16,
    ) -> Result<Vec<u16>, ModbusError> {
        let answer = self.ask(device, Ask::Read(Place { table, address, count })).await?;
        Ok(answer.words)
    }

    /// Writes what the guard has passed, once. Not retried: after any error but a refusal the register has to be read
    /// before anything else is decided, since the write may have been carried out all the same.
    pub async fn write(&self, write: &SafeWrite) -> Result<(), ModbusError> {
        let ask = Ask::Write { address: write.address(), words: write.words() };
        self.ask(write.device(), ask).await.map(|_| ())
    }

    async fn ask(&self, device: &Name, ask: Ask) -> Reply {
        let pending = self.hand_in(device, ask).await?;
        Self::answer(device, pending).await
    }

    /// Queues a request; its answer is awaited separately, so that many can be under way.
    async fn hand_in(&self, device: &Name, ask: Ask) -> Result<oneshot::Receiver<Reply>, ModbusError> {
        let port = self.units.get(device).ok_or_else(|| ModbusError::UnknownDevice(device.clone()))?;
        let (reply, pending) = oneshot::channel();
        let job = Job { unit: port.unit, ask, reply };
        port.jobs.send(job).await.map_err(|_| Self::shut_down(device))?;
        Ok(pending)
    }

    async fn answer(device: &Name, pending: oneshot::Receiver<Reply>) -> Result<Answer, ModbusError> {
        pending.await.unwrap_or_else(|_| Err(Self::shut_down(device)))
    }

    fn shut_down(device: &Name) -> ModbusError {
        ModbusError::Link { endpoint: device.to_string(), cause: LinkCause::ShutDown }
    }
}
