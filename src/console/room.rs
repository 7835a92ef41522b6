//! How many connections the console holds at a time. Each costs a file descriptor, and those are the plant's too: with none left no
//! device and no broker is reached again.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer as _;

/// A page of the console holds one or two.
const CONNECTIONS: usize = 256;

/// Takes connections in while there is room, and drops the others.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS)))
    }
}

impl<S> Accept<TcpStream, S> for Room {
    type Stream = TcpStream;
    /// Holds its place for as long as the connection is there.
    type Service = AddExtension<S, Arc<OwnedSemaphorePermit>>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = self.0.clone().try_acquire_owned();
        let place = place.map_err(|_| io::Error::other(format!("{CONNECTIONS} connections are open")));
        ready(place.map(|place| (stream, Extension(Arc::new(place)).layer(service))))
    }
}
