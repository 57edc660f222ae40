//! Where the proxy is listened to.

use crate::proxy::ProxyError;
use axum::Router;
use axum::serve::ListenerExt;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Listens on each of `hosts`, all at one port; gives that port back.
pub(crate) async fn bind(hosts: &[String], port: u16) -> Result<(Vec<TcpListener>, u16), ProxyError> {
    let mut listeners = Vec::new();
    let mut port = port;
    for host in hosts {
        let listener =
            TcpListener::bind((host.as_str(), port)).await.map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => ProxyError::PortTaken { host: host.clone(), port },
                _ => ProxyError::Bind { host: host.clone(), port, source },
            })?;
        let bound = listener.local_addr();
        port = bound.map_err(|source| ProxyError::Bind { host: host.clone(), port, source })?.port();
        listeners.push(listener);
    }
    Ok((listeners, port))
}

/// Listens on a Unix socket. A socket that nobody serves any more is replaced.
pub(crate) fn bind_unix(path: &Path) -> Result<UnixListener, ProxyError> {
    let bound = || -> io::Result<UnixListener> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        // Agents run as whatever user their environment has; it is the key that opens.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(listener)
    };
    bound().map_err(|source| ProxyError::Socket { path: path.to_owned(), source })
}

/// Serves until `stopping` is set and the connections then open are done.
pub(crate) fn serve(
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
    router: &Router,
    stopping: &CancellationToken,
) -> JoinSet<()> {
    let mut servers = JoinSet::new();
    for listener in tcp {
        // A token must not wait for the next one.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let server =
            axum::serve(listener, router.clone()).with_graceful_shutdown(stopping.clone().cancelled_owned());
        servers.spawn(async move {
            let _ = server.await;
        });
    }
    if let Some(listener) = unix {
        let server =
            axum::serve(listener, router.clone()).with_graceful_shutdown(stopping.clone().cancelled_owned());
        servers.spawn(async move {
            let _ = server.await;
        });
    }
    servers
}
