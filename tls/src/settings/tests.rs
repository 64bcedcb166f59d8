//! Whole handshakes in memory, between our configuration and a client of rustls: no sockets, no clock of ours.

use std::io;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection,
};

use super::*;
use crate::chain::UnixSeconds;
use crate::chain::tests::{Issued, Pem};
use crate::metrics::Outcome;
use crate::store::Store;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// A server with one certificate for each name, and a client that trusts them all.
struct Pair {
    resolver: Arc<Resolver>,
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

fn store(issued: &[&Pem], default: Option<&Pem>) -> Store {
    let chains = issued
        .iter()
        .enumerate()
        .map(|(index, pem)| (index.to_string(), pem.chain()));
    Store::build(
        chains,
        default.map(|pem| ("default".to_owned(), pem.chain())),
        NOW,
    )
}

fn pair(issued: &[&Pem], default: Option<&Pem>, min: MinVersion) -> Pair {
    let mut roots = RootCertStore::empty();
    for pem in issued.iter().copied().chain(default) {
        roots
            .add(CertificateDer::from_pem_slice(pem.authority.as_bytes()).expect("PEM"))
            .expect("an authority");
    }
    let resolver = Arc::new(Resolver::new(store(issued, default)));
    let server = server_config(Arc::clone(&resolver), min).expect("a configuration");
    Pair {
        resolver,
        server,
        client: client(roots, &[&version::TLS13, &version::TLS12]),
    }
}

fn client(roots: RootCertStore, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    config
}

struct Agreed {
    leaf: CertificateDer<'static>,
    protocol: Option<Vec<u8>>,
    version: Option<ProtocolVersion>,
    kind: Option<HandshakeKind>,
}

/// Runs a handshake in memory, until neither side has anything to say.
fn handshake(pair: &Pair, name: &str) -> Result<Agreed, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(pair.client.clone()), name)?;
    let mut server = ServerConnection::new(Arc::clone(&pair.server))?;
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        deliver(&wire, |rest| server.read_tls(rest));
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        deliver(&wire, |rest| client.read_tls(rest));
        client.process_new_packets()?;
    }
    let leaf = client.peer_certificates().expect("certificates")[0]
        .clone()
        .into_owned();
    Ok(Agreed {
        leaf,
        protocol: server.alpn_protocol().map(<[u8]>::to_vec),
        version: server.protocol_version(),
        kind: server.handshake_kind(),
    })
}

fn deliver(wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> io::Result<usize>) {
    let mut rest = wire;
    while !rest.is_empty() {
        read(&mut rest).expect("memory");
    }
}

fn leaf(pem: &Pem) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.leaf.as_bytes()).expect("PEM")
}

#[test]
fn each_server_name_gets_its_certificate_and_http2_is_preferred() {
    let one = Issued::for_names(&["one.example"]).pem();
    let wild = Issued::for_names(&["*.two.example"]).pem();
    let pair = pair(&[&one, &wild], None, MinVersion::Tls12);
    for (name, pem) in [("one.example", &one), ("www.two.example", &wild)] {
        let agreed = handshake(&pair, name).expect("agreed");
        assert_eq!(agreed.leaf, leaf(pem), "{name}");
        assert_eq!(agreed.protocol.as_deref(), Some(&b"h2"[..]));
        assert_eq!(agreed.version, Some(ProtocolVersion::TLSv1_3));
        assert_eq!(Outcome::done(agreed.kind), Outcome::Full);
    }
}

#[test]
fn an_unknown_name_is_refused_without_a_default_and_counted_so() {
    let one = Issued::for_names(&["one.example"]).pem();
    let error = handshake(&pair(&[&one], None, MinVersion::Tls12), "other.example")
        .err()
        .expect("refused");
    assert_eq!(
        Outcome::failed(&io::Error::new(io::ErrorKind::InvalidData, error)),
        Outcome::UnknownName
    );
}

#[test]
fn an_unknown_name_and_an_address_get_the_default() {
    let one = Issued::for_names(&["one.example"]).pem();
    let default = Issued::for_names(&["other.example", "192.0.2.1"]).pem();
    let pair = pair(&[&one], Some(&default), MinVersion::Tls12);
    for name in ["other.example", "192.0.2.1"] {
        assert_eq!(
            handshake(&pair, name).expect("agreed").leaf,
            leaf(&default),
            "{name}"
        );
    }
}

#[test]
fn a_replaced_snapshot_serves_the_next_handshake() {
    let (old, new) = (
        Issued::for_names(&["one.example"]).pem(),
        Issued::for_names(&["one.example"]).pem(),
    );
    let mut pair = pair(&[&old, &new], None, MinVersion::Tls12);
    // A session of before would show the certificate of before.
    pair.client.resumption = rustls::client::Resumption::disabled();
    for pem in [&old, &new, &old] {
        pair.resolver.replace(store(&[pem], None));
        assert_eq!(
            handshake(&pair, "one.example").expect("agreed").leaf,
            leaf(pem)
        );
        assert!(pair.resolver.store().has("one.example"));
    }
}

#[test]
fn a_second_handshake_resumes_the_first_in_both_versions() {
    let one = Issued::for_names(&["one.example"]).pem();
    for (version, expected) in [
        (&version::TLS13, ProtocolVersion::TLSv1_3),
        (&version::TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let mut pair = pair(&[&one], None, MinVersion::Tls12);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(one.authority.as_bytes()).expect("PEM"))
            .expect("an authority");
        pair.client = client(roots, &[version]);
        for kind in [Outcome::Full, Outcome::Resumed] {
            let agreed = handshake(&pair, "one.example").expect("agreed");
            assert_eq!(
                (agreed.version, Outcome::done(agreed.kind)),
                (Some(expected), kind)
            );
        }
    }
}

#[test]
fn an_old_client_is_refused_when_only_the_newest_version_is_spoken() {
    let one = Issued::for_names(&["one.example"]).pem();
    let mut pair = pair(&[&one], None, MinVersion::Tls13);
    pair.client = client(RootCertStore::empty(), &[&version::TLS12]);
    let error = handshake(&pair, "one.example").err().expect("refused");
    assert_eq!(
        Outcome::failed(&io::Error::other(error)),
        Outcome::NothingInCommon
    );
}

#[test]
fn early_data_stays_off_and_both_versions_have_words() {
    let config = server_config(
        Arc::new(Resolver::default()),
        MinVersion::parse("1.2").expect("a version"),
    )
    .expect("a configuration");
    assert_eq!(
        (config.max_early_data_size, config.send_half_rtt_data),
        (0, false)
    );
    assert_eq!(MinVersion::parse("1.3"), Some(MinVersion::Tls13));
    assert_eq!(MinVersion::parse("1.1"), None);
}
