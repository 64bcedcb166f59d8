//! Binding, and what is said when it fails.

use jet9_config::limits::Limits;
use jet9_config::node::{AdminListen, Listen};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::framework::front::tests::Fake;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn listen(http: Vec<SocketAddr>) -> Listen {
    Listen {
        http,
        ..Listen::default()
    }
}

#[test]
fn the_system_chooses_a_port_and_accepted_sockets_inherit_the_options() {
    let bound = bind("node.toml", &listen(vec![loopback()])).unwrap();
    let address = bound.http[0].local_addr().unwrap();
    assert_ne!(address.port(), 0);
    let _client = std::net::TcpStream::connect(address).unwrap();
    bound.http[0].set_nonblocking(false).unwrap();
    let (accepted, _) = bound.http[0].accept().unwrap();
    let accepted = socket2::SockRef::from(&accepted);
    assert!(accepted.tcp_nodelay().unwrap());
    assert!(accepted.keepalive().unwrap());
}

#[test]
fn every_address_that_is_taken_is_named_at_once() {
    let taken = bind("node.toml", &listen(vec![loopback(), loopback()])).unwrap();
    let addresses: Vec<_> = taken.http.iter().map(|l| l.local_addr().unwrap()).collect();
    let wanted = Listen {
        http: vec![loopback(), addresses[0]],
        metrics: Some(addresses[1]),
        ..Listen::default()
    };
    let problems = bind("node.toml", &wanted).unwrap_err().0;
    let pointers: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
    assert_eq!(pointers, ["/listen/http/1", "/listen/metrics"]);
    let text = problems[0].to_string();
    let expected = format!(
        "node.toml: /listen/http/1: listen.http[1]: {} cannot be bound: Address already in use",
        addresses[0]
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_stale_socket_file_is_replaced_and_one_in_use_is_not() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("deeper/admin.sock");
    let wanted = Listen {
        admin: vec![AdminListen::Unix(path)],
        ..Listen::default()
    };
    let first = bind("node.toml", &wanted).unwrap();
    let refused = bind("node.toml", &wanted).unwrap_err();
    assert!(refused.to_string().contains("listen.admin[0]"), "{refused}");
    drop(first);
    assert_eq!(bind("node.toml", &wanted).unwrap().admin.len(), 1);
}

#[test]
fn a_connection_takes_little_memory_whatever_it_will_speak() {
    fn size_of_return<F, A, B, C, D, E, R>(_: &F) -> usize
    where
        F: Fn(A, B, C, D, E) -> R,
    {
        size_of::<R>()
    }
    let size = size_of_return(&serve::<front::Node>);
    assert!(size < 1536, "{size} bytes");
}

/// A service of one clear listener, running, and the address that it listens on.
fn accepting(fake: &Arc<Fake>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let http = bind("node.toml", &listen(vec![loopback()])).unwrap().http;
    let address = http[0].local_addr().unwrap();
    let errors = accept_errors(&Registry::new()).unwrap();
    let handler = Arc::clone(fake);
    let mut service = Accepting {
        listeners: http.into_iter().map(|listener| (listener, None)).collect(),
        shared: Arc::new(Shared {
            places: Arc::new(Semaphore::new(handler.limits().connections)),
            handler,
            errors,
        }),
        threads: 1,
    };
    (address, tokio::spawn(async move { service.run().await }))
}

const HIT: &[u8] = b"GET /hit HTTP/1.1\r\nHost: a\r\n\r\n";

async fn answered(client: &mut TcpStream) -> bool {
    let mut answer = [0; 1024];
    client.read(&mut answer).await.is_ok_and(|read| read > 0)
}

#[tokio::test]
async fn who_comes_while_all_places_are_taken_waits_for_one() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let fake = Fake::new(limits);
    let (address, service) = accepting(&fake);
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(HIT).await.unwrap();
    assert!(answered(&mut first).await);
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(HIT).await.unwrap();
    first.write_all(HIT).await.unwrap();
    assert!(answered(&mut first).await);
    assert_eq!(
        fake.open.get(),
        1,
        "the second is not served beside the first"
    );
    drop(first);
    assert!(answered(&mut second).await);
    fake.drain.start();
    service.await.unwrap();
}

#[tokio::test]
async fn a_stop_serves_who_is_in_the_listen_queue_and_nobody_after_that() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let fake = Fake::new(limits);
    let http = bind("node.toml", &listen(vec![loopback()])).unwrap().http;
    let address = http[0].local_addr().unwrap();
    // Connected before anybody accepts.
    let mut waiting = TcpStream::connect(address).await.unwrap();
    waiting.write_all(HIT).await.unwrap();
    let shared = Shared {
        places: Arc::new(Semaphore::new(2)),
        handler: Arc::clone(&fake),
        errors: accept_errors(&Registry::new()).unwrap(),
    };
    fake.drain.start();
    let listener = TcpListener::from_std(http.into_iter().next().unwrap()).unwrap();
    Arc::new(shared).accept(listener, None).await;
    assert!(answered(&mut waiting).await);
    fake.drain.idle().await;
    assert!(TcpStream::connect(address).await.is_err());
}
