//! The Modbus TCP server. Unit 1; other units answer exception 0x0B (gateway target failed).

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_modbus::prelude::*;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};

use super::Shared;
use crate::registers::{self, Refusal};

const UNIT: u8 = 1;

struct Registers(Shared);

impl From<Refusal> for ExceptionCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Address => ExceptionCode::IllegalDataAddress,
            Refusal::Value => ExceptionCode::IllegalDataValue,
        }
    }
}

impl Registers {
    fn answer(&self, request: SlaveRequest<'static>) -> Result<Response, ExceptionCode> {
        if request.slave != UNIT {
            return Err(ExceptionCode::GatewayTargetDevice);
        }
        let mut plant = self.0.lock();
        Ok(match request.request {
            Request::ReadHoldingRegisters(at, count) => Response::ReadHoldingRegisters(registers::slice(
                &registers::holding_image(&plant),
                at,
                count,
            )?),
            Request::ReadInputRegisters(at, count) => {
                Response::ReadInputRegisters(registers::slice(&registers::input_image(&plant), at, count)?)
            }
            Request::WriteSingleRegister(at, word) => {
                registers::write(&mut plant, at, &[word])?;
                Response::WriteSingleRegister(at, word)
            }
            Request::WriteMultipleRegisters(at, words) => {
                registers::write(&mut plant, at, &words)?;
                Response::WriteMultipleRegisters(at, words.len() as u16)
            }
            Request::ReadCoils(..)
            | Request::ReadDiscreteInputs(..)
            | Request::WriteSingleCoil(..)
            | Request::WriteMultipleCoils(..)
            | Request::ReportServerId
            | Request::MaskWriteRegister(..)
            | Request::ReadWriteMultipleRegisters(..)
            | Request::ReadDeviceIdentification(..)
            | Request::Custom(..) => return Err(ExceptionCode::IllegalFunction),
        })
    }
}

impl Service for Registers {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ExceptionCode>> + Send>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        Box::pin(std::future::ready(self.answer(request)))
    }
}

/// Opens the port and serves until stopped; returns the port. While `gate` is false the port is
/// closed and connections are cut, as when a controller loses power.
pub(super) async fn serve(
    address: SocketAddr,
    plant: Shared,
    mut gate: watch::Receiver<bool>,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<u16> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut listener = Some(listener);
        loop {
            let open = match listener.take() {
                Some(open) => open,
                None => match TcpListener::bind(address).await {
                    Ok(open) => open,
                    Err(error) => {
                        tracing::error!(%error, "the Modbus port could not be opened again");
                        return;
                    }
                },
            };
            tokio::select! {
                () = run(open, &plant) => return,
                _ = gate.wait_for(|up| !*up) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                up = gate.wait_for(|up| *up) => if up.is_err() { return },
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    });
    Ok(address.port())
}

/// Serves on a listener; ends, with all its connections, when dropped.
async fn run(listener: TcpListener, plant: &Shared) {
    let new_service = |_: SocketAddr| Ok(Some(Registers(plant.clone())));
    let on_connected = |stream: TcpStream, peer: SocketAddr| async move {
        stream.set_nodelay(true)?;
        accept_tcp_connection(stream, peer, new_service)
    };
    let on_error = |error: std::io::Error| tracing::debug!(%error, "a Modbus connection ended");
    if let Err(error) = Server::new(listener).serve(&on_connected, on_error).await {
        tracing::error!(%error, "the Modbus server stopped");
    }
}
