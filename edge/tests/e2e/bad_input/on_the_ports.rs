//! Bytes that no listener expects.

use super::super::support::cluster::Cluster;
use super::super::support::http1::Client;
use super::super::support::scene::scene;
use super::super::support::setup::Setup;
use super::{LIMIT, page, stored_pages};

#[test]
fn garbage_on_every_port_harms_nobody() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        let garbage = garbage();
        for address in [
            edge.bound.http,
            edge.bound.https,
            edge.bound.admin,
            edge.bound.metrics,
        ] {
            for bytes in &garbage {
                let mut client = Client::clear(address);
                client.send(bytes);
                client.finish_sending();
                client.read_to_the_end();
            }
        }
        for bytes in &garbage {
            let mut client = edge.tls("site.test");
            client.send(bytes);
            client.finish_sending();
            client.read_to_the_end();
        }
        assert!(edge.is_alive());
        assert_eq!(edge.get("site.test", "/x").text(), page("/x"));
        assert_eq!(edge.http2("site.test").get("site.test", "/x").status(), 200);
    });
}

/// Bytes that no listener expects, without chance: every run sends the same.
fn garbage() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let noise = |length: usize, byte: &mut dyn FnMut() -> u8| (0..length).map(|_| byte()).collect();
    vec![
        Vec::new(),
        vec![0],
        b"\r\n\r\n".to_vec(),
        b"\x16\x03\x01\xff\xff".to_vec(),
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\x04\x00\x00\x00\x00\x00".to_vec(),
        b"GET / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        b"POST /v1/purges HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{".to_vec(),
        vec![b'\n'; 100_000],
        vec![b'A'; 100_000],
        vec![0xff; 100_000],
        noise(17, &mut byte),
        noise(1_000, &mut byte),
        noise(100_000, &mut byte),
    ]
}

#[test]
fn http2_garbage_after_a_good_preface_harms_nobody() {
    scene(LIMIT, |scene| {
        let origin = stored_pages();
        let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
        for frames in garbage() {
            let mut client =
                Client::tls_for(edge.bound.https, &edge.files.roots, "site.test", "h2");
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
            client.send(&frames);
            client.finish_sending();
            client.read_to_the_end();
        }
        assert!(edge.is_alive());
        assert_eq!(edge.http2("site.test").get("site.test", "/x").status(), 200);
    });
}
