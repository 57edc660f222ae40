//! The way from inside to the model proxy.

use super::{Guest, unexpected};
use crate::environment::EnvironmentError;
use trajgen_guest::protocol::{Forward, Reply, Request};

impl Guest {
    /// Makes the helper listen on 127.0.0.1 at `port` (0: any) inside and forward each connection to the Unix
    /// socket `socket` inside, until the helper ends. Returns the port.
    ///
    /// # Errors
    /// `EnvironmentLostError` when the port is taken inside, or the connection is lost.
    pub async fn forward(&self, port: u16, socket: &str) -> Result<u16, EnvironmentError> {
        let request = Request::Forward(Forward { port, socket: socket.to_owned() });
        match self.connection.request(&request).await? {
            Reply::Forward { port } => Ok(port),
            other => Err(unexpected("cannot start the forwarder", other)),
        }
    }
}
