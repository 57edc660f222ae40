//! Who reaches what.

use crate::support::{Room, run};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use trajgen_rollout::environment::{EnvironmentProvider as _, Network};

/// Accepts and greets, for as long as the tests run.
pub fn greet<S: std::io::Read + std::io::Write>(accept: impl Fn() -> std::io::Result<S> + Send + 'static) {
    std::thread::spawn(move || {
        while let Ok(mut stream) = accept() {
            // All of it: what is left unread when the connection closes would break it.
            let (mut request, mut part) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(count) if count > 0 => request.extend_from_slice(&part[..count]),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n");
        }
    });
}

pub fn host_service() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    greet(move || listener.accept().map(|(stream, _)| stream));
    port
}

/// Says `hello` when a port can be reached and answers.
pub fn ask(address: &str, port: u16) -> String {
    format!(
        "(exec 3<>/dev/tcp/{address}/{port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && tail -n 1 <&3) 2>/dev/null || \
         echo unreachable"
    )
}

fn addresses() -> Vec<String> {
    let output = std::process::Command::new("hostname").arg("-I").output().unwrap();
    let all = String::from_utf8_lossy(&output.stdout);
    all.split_whitespace().filter(|address| address.contains('.')).map(str::to_owned).collect()
}

#[tokio::test]
async fn without_network_there_is_only_loopback() {
    let port = host_service();
    let room = Room::new();
    let sandbox = room.start().await;
    assert!(sandbox.proxy_url().is_none());
    for address in addresses().iter().map(String::as_str).chain(["127.0.0.1", "192.0.2.1", "1.1.1.1"]) {
        assert_eq!(run(&*sandbox, &ask(address, port)).await, "unreachable\n", "{address}");
    }
    let own = "perl -MIO::Socket::INET -e 'my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => q(127.0.0.1)); \
        my $c = IO::Socket::INET->new(PeerAddr => q(127.0.0.1), PeerPort => $l->sockport) or die; print qq(own\\n)'";
    assert_eq!(run(&*sandbox, own).await, "own\n");
    assert_eq!(run(&*sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '").await, "lo\n");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn abstract_sockets_of_the_host_are_not_reached() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = crate::support::token("abstract");
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    greet(move || listener.accept().map(|(stream, _)| stream));
    let line = format!(
        "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); print connect(S, pack_sockaddr_un(qq(\\0{name}))) ? 1 : 0'"
    );
    assert_eq!(Room::new().shows(&line).await, "0");
}

#[tokio::test]
async fn model_only_reaches_the_proxy_and_nothing_else() {
    let port = host_service();
    let room = Room::new();
    let path = room.dir.path().join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    greet(move || listener.accept().map(|(stream, _)| stream));
    let mut spec = room.spec();
    (spec.network, spec.proxy_socket) = (Network::ModelOnly, Some(path));
    let sandbox = room.start_as(&spec).await;
    let url = sandbox.proxy_url().unwrap();
    let proxy = url.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
    for user in [None, Some("nobody")] {
        assert_eq!(crate::support::run_as(&*sandbox, user, &ask("127.0.0.1", proxy)).await, "hello\n");
    }
    for address in addresses().iter().map(String::as_str).chain(["127.0.0.1", "1.1.1.1"]) {
        assert_eq!(run(&*sandbox, &ask(address, port)).await, "unreachable\n", "{address}");
    }
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn public_is_the_hosts_network() {
    let port = host_service();
    let room = Room::new();
    let mut spec = room.spec();
    (spec.network, spec.verifier_network) = (Network::Public, Network::Public);
    let sandbox = room.start_as(&spec).await;
    assert_eq!(run(&*sandbox, &ask("127.0.0.1", port)).await, "hello\n");
    // But nobody listens in on it, configures it or takes its low ports.
    let line = "perl -MSocket -e 'print socket(S, PF_INET, SOCK_RAW, 1) ? q(raw) : q(no raw)'; \
        ip link set lo down 2>/dev/null && echo down; \
        perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalPort => 81) ? q( low) : q( no low)'";
    assert_eq!(run(&*sandbox, line).await, "no raw no low");
    room.stop(&*sandbox).await;
}

#[tokio::test]
async fn named_hosts_are_refused_not_weakened() {
    let room = Room::new();
    let mut spec = room.spec();
    spec.network = Network::Allowlist;
    assert!(room.provider.refuse(&spec).unwrap().contains("use Docker"));
    assert!(room.provider.start(&spec).await.is_err());
}
