//! Many readers, one fetch: a response streams to all who ask for it while it arrives, and only where it may be shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::gate::Gate;
use super::support::http1::{Broken, Client, get};
use super::support::http2::End;
use super::support::origin::{After, Origin, Wire};
use super::support::scene::scene;
use super::support::setup::Setup;
use super::support::wait::until_true;

const LIMIT: Duration = Duration::from_secs(90);

/// The size of the shared object.
const SIZE: usize = 20 << 20;

/// What the origin sends before it pauses.
const BEFORE_PAUSE: usize = 1 << 20;

/// Readers of one object.
const READERS: usize = 50;

/// The content at each place, so that a shift or a mix is seen.
fn content() -> Arc<Vec<u8>> {
    let bytes = (0..SIZE / 4).flat_map(|number| u32::try_from(number).unwrap_or(0).to_le_bytes());
    Arc::new(bytes.collect())
}

/// Sends head and first part, waits at the gate, then does what `rest` does.
fn in_two_parts(
    wire: &mut Wire,
    content: &[u8],
    gate: &Gate,
    rest: impl FnOnce(&mut Wire) -> After,
) -> After {
    wire.send(format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {}\r\n\r\n",
        content.len()
    ));
    wire.send(&content[..BEFORE_PAUSE]);
    gate.pass();
    rest(wire)
}

#[test]
fn fifty_readers_of_one_cold_object_cost_one_fetch_and_read_while_it_arrives() {
    scene(LIMIT, |scene| {
        let (content, gate) = (content(), Gate::default());
        let (sent, paused) = (Arc::clone(&content), gate.clone());
        let origin = Origin::start(move |_, wire| {
            in_two_parts(wire, &sent, &paused, |wire| {
                wire.send(&sent[BEFORE_PAUSE..]);
                After::KeepAlive
            })
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("128MiB")
            .start(scene);
        let begun = AtomicUsize::new(0);
        let connections: Vec<Client> = (0..READERS).map(|_| edge.clear()).collect();
        // This one reads its first bytes and then nothing until all others are done.
        let mut stopped = edge.clear();
        stopped.send(get("site.test", "/big"));
        stopped.head("GET").expect("a head");
        let mut of_stopped = Vec::new();
        stopped.more(&mut of_stopped).expect("first bytes");
        thread::scope(|threads| {
            for mut client in connections {
                let (begun, content, gate) = (&begun, &content, &gate);
                threads.spawn(move || {
                    client.send(get("site.test", "/big"));
                    let head = client.head("GET").expect("a head");
                    assert_eq!(head.status, 200);
                    let mut got = Vec::new();
                    client.more(&mut got).expect("first bytes");
                    if begun.fetch_add(1, Ordering::SeqCst) + 1 == READERS {
                        gate.open();
                    }
                    while client.more(&mut got).expect("all of the content") {}
                    assert!(got == **content, "{} bytes of other content", got.len());
                });
            }
        });
        while stopped.more(&mut of_stopped).expect("all of the content") {}
        assert!(
            of_stopped == *content,
            "the reader that stopped got other content"
        );
        assert_eq!(origin.count("/big"), 1);
        assert!(edge.get("site.test", "/big").is_shared());
        assert_eq!(origin.count("/big"), 1);
    });
}

#[test]
fn an_origin_that_dies_midway_gives_every_reader_a_broken_transfer_and_nothing_is_stored() {
    scene(LIMIT, |scene| {
        let (content, gate) = (content(), Gate::default());
        let (sent, paused) = (Arc::clone(&content), gate.clone());
        let origin = Origin::start(move |seen, wire| match seen.number {
            // One fetch for each scheme: it is a part of the key.
            1 | 2 => in_two_parts(wire, &sent, &paused, |_| After::Reset),
            _ => wire.answer("200 OK", "Cache-Control: max-age=600\r\n", b"whole"),
        });
        let edge = Setup::of(Cluster::of_one("c-1", origin.address))
            .disk("128MiB")
            .start(scene);
        let begun = AtomicUsize::new(0);
        let has_begun = || {
            if begun.fetch_add(1, Ordering::SeqCst) + 1 == CLEAR + TLS + HTTP2 {
                gate.open();
            }
        };
        let (edge, has_begun) = (&edge, &has_begun);
        thread::scope(|threads| {
            for number in 0..CLEAR + TLS {
                threads.spawn(move || {
                    let client = if number < CLEAR {
                        edge.clear()
                    } else {
                        edge.tls("site.test")
                    };
                    let broken = read_broken(client, has_begun);
                    assert!(matches!(broken, Broken::Cut), "{broken:?}");
                });
            }
            for _ in 0..HTTP2 {
                threads.spawn(move || {
                    let mut client = edge.http2("site.test");
                    let mut answer = client.begin("GET", "site.test", "/dies");
                    assert_eq!(answer.head.status, 200);
                    let first = answer.more().expect("first bytes");
                    has_begun();
                    let fetched = answer.rest(first.to_vec());
                    assert!(matches!(fetched.end, End::Reset(_)), "{:?}", fetched.end);
                });
            }
        });
        assert_eq!(origin.count("/dies"), 2);
        for mut client in [edge.clear(), edge.tls("site.test")] {
            let next = client.ask(get("site.test", "/dies"));
            assert!(!next.is_shared(), "{next:?}");
            assert_eq!(next.text(), "whole");
        }
    });
}

/// Readers of a transfer that breaks, by what they speak.
const CLEAR: usize = 8;
const TLS: usize = 3;
const HTTP2: usize = 3;

fn read_broken(mut client: Client, has_begun: &impl Fn()) -> Broken {
    client.send(get("site.test", "/dies"));
    client.head("GET").expect("a head");
    let mut got = Vec::new();
    client.more(&mut got).expect("first bytes");
    has_begun();
    loop {
        match client.more(&mut got) {
            Ok(true) => {}
            Ok(false) => panic!("a clean end after {} bytes", got.len()),
            Err(broken) => return broken,
        }
    }
}

#[test]
fn a_private_answer_is_never_shared_even_with_those_who_waited_for_it() {
    scene(LIMIT, |scene| {
        for directive in ["private", "no-store"] {
            let gate = Gate::default();
            let paused = gate.clone();
            let origin = Origin::start(move |seen, wire| {
                paused.pass();
                let fields = format!("Cache-Control: {directive}\r\n");
                wire.answer("200 OK", &fields, format!("for {}", seen.number).as_bytes())
            });
            let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
            let mut clients: Vec<Client> = (0..5).map(|_| edge.clear()).collect();
            for client in &mut clients {
                client.send(get("site.test", "/mine"));
            }
            until_true("a request reached the origin", || origin.count("/mine") > 0);
            gate.open();
            let mut answers: Vec<String> = clients
                .iter_mut()
                .map(|client| client.answer("GET").expect("an answer").text())
                .collect();
            answers.sort_unstable();
            answers.dedup();
            assert_eq!(answers.len(), 5, "{directive}: shared: {answers:?}");
            assert!(!edge.get("site.test", "/mine").is_shared());
            edge.process.kill();
        }
    });
}

#[test]
fn an_endless_answer_ends_with_its_client() {
    scene(LIMIT, |scene| {
        for directive in ["no-store", "max-age=600"] {
            let left = Gate::default();
            let ended = Arc::new(AtomicUsize::new(0));
            let (counted, told) = (Arc::clone(&ended), left.clone());
            let origin = Origin::start(move |_, wire| {
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nCache-Control: {directive}\r\nTransfer-Encoding: chunked\r\n\r\n"
                ));
                // Bounded, so that a proxy that never closes is found out, not waited for.
                for _ in 0..ENDLESS_CHUNKS {
                    if !wire.send(format!("{:x}\r\n{}\r\n", 4096, "e".repeat(4096))) {
                        counted.fetch_add(1, Ordering::SeqCst);
                        return After::Close;
                    }
                    if told.is_open() {
                        thread::park_timeout(Duration::from_millis(1));
                    }
                }
                After::Close
            });
            let edge = Setup::of(Cluster::of_one("c-1", origin.address)).start(scene);
            let mut client = edge.clear();
            client.send(get("site.test", "/endless"));
            client.head("GET").expect("a head");
            let mut got = Vec::new();
            while got.len() < 100_000 {
                client.more(&mut got).expect("more of it");
            }
            left.open();
            drop(client);
            until_true("the origin's connection is closed", || {
                ended.load(Ordering::SeqCst) == 1
            });
            assert_eq!(origin.count("/endless"), 1);
            edge.process.kill();
        }
    });
}

/// 4 GiB in all.
const ENDLESS_CHUNKS: usize = 1 << 20;
