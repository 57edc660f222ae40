use crate::helper::start;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};

#[tokio::test]
async fn connections_reach_the_socket_both_ways() {
    let helper = start().await;
    let path = helper.folder.path().join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = Vec::new();
                stream.read_to_end(&mut asked).await.unwrap();
                asked.reverse();
                stream.write_all(&asked).await.unwrap();
            });
        }
    });
    let port = helper.guest.forward(0, path.to_str().unwrap()).await.unwrap();
    let mut talks = Vec::new();
    for n in 0..20u8 {
        talks.push(tokio::spawn(async move {
            let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let asked: Vec<u8> = (0..200_000u32).map(|i| (i as u8).wrapping_add(n)).collect();
            client.write_all(&asked).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert!(answer.iter().rev().eq(&asked));
        }));
    }
    for talk in talks {
        talk.await.unwrap();
    }
    let taken = helper.guest.forward(port, path.to_str().unwrap()).await.unwrap_err();
    assert!(taken.message.contains(&port.to_string()), "{taken}");
}
