//! Binding, and what is said when it fails.

use tempfile::tempdir;

use super::*;

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
