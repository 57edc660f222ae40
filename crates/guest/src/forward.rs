//! The forwarder: a port of the inside's loopback that leads to a Unix socket, the model proxy's.

use crate::protocol::{Failure, Forward, Reply};
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections are open at once; further ones are closed at once.
const MAX_CONNECTIONS: usize = 512;

/// Listens, and goes on forwarding until the helper ends.
pub(crate) fn start(request: &Forward) -> Reply {
    let socket = PathBuf::from(&request.socket);
    match listen(request.port, socket) {
        Ok(port) => Reply::Forward { port },
        Err(error) => {
            let doing = format!("cannot forward port {} of 127.0.0.1 to {}", request.port, request.socket);
            Reply::Failed(Failure::system(&doing, &error))
        }
    }
}

fn listen(port: u16, socket: PathBuf) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let port = listener.local_addr()?.port();
    crate::spawn("forwarder", move || accept(&listener, &socket))?;
    Ok(port)
}

fn accept(listener: &TcpListener, socket: &Path) {
    let open = Arc::new(AtomicUsize::new(0));
    for client in listener.incoming() {
        let Ok(client) = client else {
            // Out of descriptors, or the connection has gone already: the next one may fare better.
            std::thread::yield_now();
            continue;
        };
        if open.load(Ordering::SeqCst) >= MAX_CONNECTIONS {
            continue;
        }
        open.fetch_add(1, Ordering::SeqCst);
        let (socket, counter) = (socket.to_owned(), Arc::clone(&open));
        let started = crate::spawn("forward", move || {
            // Either side's failure ends the connection, which is all the other can be told.
            let _ = connect(&client, &socket);
            counter.fetch_sub(1, Ordering::SeqCst);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Copies both ways until both have ended; the end of one direction is passed on.
fn connect(client: &TcpStream, socket: &Path) -> io::Result<()> {
    let server = UnixStream::connect(socket)?;
    client.set_nodelay(true)?;
    let (mut upward_from, mut upward_to) = (client.try_clone()?, server.try_clone()?);
    crate::spawn("forward upward", move || {
        let _ = io::copy(&mut upward_from, &mut upward_to);
        let _ = upward_to.shutdown(Shutdown::Write);
    })?;
    let (mut from, mut to) = (&server, client);
    let copied = io::copy(&mut from, &mut to);
    // The client has all there is; what it may still be sending, nobody wants.
    client.shutdown(Shutdown::Both)?;
    copied.map(drop)
}
