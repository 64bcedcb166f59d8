//! Certificates from files, and a handshake with them.

use std::fs;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::{TempDir, tempdir};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

struct Files {
    directory: TempDir,
    roots: RootCertStore,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempdir().unwrap(),
            roots: RootCertStore::empty(),
        }
    }

    fn write(&mut self, file: &str, name: &str) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).unwrap();
        self.roots.add(cert.der().clone()).unwrap();
        let pem = format!("{}{}", cert.pem(), signing_key.serialize_pem());
        fs::write(self.directory.path().join(file), pem).unwrap();
    }

    fn settings(&self, default: Option<&str>) -> Tls {
        Tls {
            min_version: TlsVersion::V1_2,
            default_certificate: default.map(|file| self.directory.path().join(file)),
            certificates: self.directory.path().to_owned(),
        }
    }
}

fn metrics() -> jet9_tls::Metrics {
    jet9_tls::Metrics::register(&prometheus::Registry::new()).unwrap()
}

#[test]
fn a_bad_file_at_the_start_costs_its_own_names_and_only_the_default_stops_it() {
    let mut files = Files::new();
    files.write("good.pem", "good.test");
    fs::write(files.directory.path().join("bad.pem"), "no certificate").unwrap();
    let registry = prometheus::Registry::new();
    let metrics_of = jet9_tls::Metrics::register(&registry).unwrap();
    let certificates = Certificates::load(&files.settings(None), metrics_of).unwrap();
    let store = certificates.resolver().store();
    assert!(store.has("good.test"));
    let shown = prometheus::TextEncoder::new();
    let shown = shown.encode_to_string(&registry.gather()).unwrap();
    let unusable = "jet9_tls_certificates{state=\"unusable\"} 1";
    assert!(shown.contains(unusable), "{shown}");
    let problems = check(&files.settings(None)).unwrap_err().0;
    assert!(problems[0].file.ends_with("bad.pem"), "{problems:?}");

    let refused = Certificates::load(&files.settings(Some("missing")), metrics());
    let problems = refused.unwrap_err().0;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].pointer, "/tls/default_certificate");
}

#[test]
fn a_certificate_that_is_put_is_in_force_at_once_and_a_bad_one_changes_nothing() {
    let mut files = Files::new();
    let certificates = Certificates::load(&files.settings(None), metrics()).unwrap();
    files.write("elsewhere", "new.test");
    let pem = fs::read(files.directory.path().join("elsewhere")).unwrap();
    let held = certificates.put("one", &pem).unwrap();
    assert_eq!(
        (held.name.as_str(), held.validity),
        ("one", Validity::Valid)
    );
    assert!(
        held.chain.issuer().contains("CN="),
        "{}",
        held.chain.issuer()
    );
    assert!(certificates.resolver().store().has("new.test"));
    for bad in ["nonsense".as_bytes(), &pem[..pem.len() / 2], b""] {
        let refused = certificates.put("one", bad);
        assert!(matches!(refused, Err(PutError::Unusable(_))), "{refused:?}");
    }
    certificates.reload();
    assert!(certificates.resolver().store().has("new.test"));
    assert_eq!(certificates.list().len(), 1);
}

#[test]
fn a_certificate_is_removed_unless_it_is_needed() {
    let mut files = Files::new();
    for name in ["a.test", "b.test", "default"] {
        files.write(&format!("{name}.pem"), name);
    }
    fs::write(files.directory.path().join("bad.pem"), "no certificate").unwrap();
    let settings = files.settings(Some("default.pem"));
    let certificates = Certificates::load(&settings, metrics()).unwrap();
    let needed = |_: &Chain, left: &Store| {
        assert!(left.has("b.test") && !left.has("a.test"));
        Some("x needs it".to_owned())
    };
    let refused = certificates.remove("a.test", needed).unwrap_err();
    assert_eq!(refused.to_string(), "x needs it");
    let refused = certificates.remove("default", |_, _| None).unwrap_err();
    assert!(matches!(refused, RemoveError::Default), "{refused}");
    let refused = certificates.remove("none", |_, _| None).unwrap_err();
    assert!(matches!(refused, RemoveError::Missing), "{refused}");
    for again in [false, true] {
        let store = certificates.resolver().store();
        assert!(store.has("a.test") && store.has("b.test"), "{again}");
        certificates.reload();
    }
    certificates.remove("a.test", |_, _| None).unwrap();
    certificates.remove("bad", |_, _| None).unwrap();
    assert!(!certificates.resolver().store().has("a.test"));
    let left = files_of(files.directory.path()).unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_is_no_certificate_holds_nobody_up() {
    let mut files = Files::new();
    files.write("good.pem", "good.test");
    let place = files.directory.path().to_owned();
    let made = std::process::Command::new("mkfifo")
        .arg(place.join("pipe.pem"))
        .status();
    assert!(made.expect("mkfifo").success());
    std::os::unix::fs::symlink("/dev/zero", place.join("device.pem")).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let settings = files.settings(None);
    std::thread::spawn(move || {
        let certificates = Certificates::load(&settings, metrics()).unwrap();
        certificates.reload();
        let large = vec![b' '; usize::try_from(PEM_MAX).unwrap() + 1];
        let refused = certificates.put("large", &large).unwrap_err();
        let is_kept = certificates.resolver().store().has("good.test");
        done.send((is_kept, refused.to_string())).unwrap();
    });
    let (is_kept, refused) = is_done.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(is_kept);
    assert!(refused.contains("larger than"), "{refused}");
}

#[test]
fn the_default_certificate_is_not_removed_however_it_is_reached() {
    let mut files = Files::new();
    for name in ["a", "b"] {
        files.write(&format!("{name}.pem"), &format!("{name}.test"));
    }
    let place = files.directory.path().to_owned();
    let link = |from: &str, to: &str| {
        std::os::unix::fs::symlink(to, place.join(from)).unwrap();
    };
    let elsewhere = tempdir().unwrap();
    let outside = elsewhere.path().join("outside");
    std::os::unix::fs::symlink(&place, elsewhere.path().join("directory")).unwrap();
    std::os::unix::fs::symlink(place.join("first"), &outside).unwrap();
    link("first", "second");
    link("second", "a.pem");
    link("around", "around");
    let check = |default: &str, is_kept: bool| {
        let certificates = Certificates {
            default: Some(place.join(default)),
            ..Certificates::load(&files.settings(None), metrics()).unwrap()
        };
        assert_eq!(
            certificates.is_of_default(&place.join("a.pem")),
            is_kept,
            "{default}"
        );
        assert!(
            !certificates.is_of_default(&place.join("b.pem")),
            "{default}"
        );
    };
    check("a.pem", true);
    check("./a.pem", true);
    check("first", true);
    check(outside.to_str().unwrap(), true);
    let through = elsewhere.path().join("directory/a.pem");
    check(through.to_str().unwrap(), true);
    check("around", false);
    check("missing", false);

    let certificates = Certificates::load(&files.settings(Some("first")), metrics()).unwrap();
    let refused = certificates.remove("a", |_, _| None).unwrap_err();
    assert!(matches!(refused, RemoveError::Default), "{refused}");
    // What is put there is the default at once.
    files.write("new", "new.test");
    let pem = fs::read(place.join("new")).unwrap();
    certificates.put("a", &pem).unwrap();
    let default = certificates.loaded.lock().chains[&place.join("first")].clone();
    assert!(default.names().iter().any(|name| name.covers("new.test")));
    certificates.remove("b", |_, _| None).unwrap();
}

#[test]
fn without_a_directory_there_are_no_certificates_by_name() {
    let files = Files::new();
    let mut settings = files.settings(None);
    settings.certificates = files.directory.path().join("missing");
    let certificates = Certificates::load(&settings, metrics()).unwrap();
    assert_eq!(certificates.resolver().store().names(), 0);
}

#[test]
fn a_file_that_goes_bad_stays_in_force_and_a_deleted_one_does_not() {
    let mut files = Files::new();
    for name in ["a.test", "b.test", "c.test"] {
        files.write(&format!("{name}.pem"), name);
    }
    let certificates = Certificates::load(&files.settings(None), metrics()).unwrap();
    fs::write(files.directory.path().join("a.test.pem"), "spoilt").unwrap();
    fs::remove_file(files.directory.path().join("b.test.pem")).unwrap();
    files.write("d.test.pem", "d.test");
    // Twice: what stays in force the first time must still be known the second time.
    for _ in 0..2 {
        certificates.reload();
        let store = certificates.resolver().store();
        let has = ["a.test", "b.test", "c.test", "d.test"].map(|name| store.has(name));
        assert_eq!(has, [true, false, true, true]);
    }
}

#[tokio::test]
async fn a_handshake_tells_the_name_the_version_and_the_protocol() {
    let mut files = Files::new();
    files.write("site.pem", "site.test");
    let certificates = Certificates::load(&files.settings(None), metrics()).unwrap();
    let config = certificates.server_config(TlsVersion::V1_2).unwrap();
    let acceptor = Acceptor::new(config, Duration::from_secs(5), metrics());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(files.roots)
        .with_no_client_auth();
    for (offered, http2) in [(vec![], false), (vec![b"h2".to_vec()], true)] {
        client.alpn_protocols = offered;
        let connector = TlsConnector::from(Arc::new(client.clone()));
        let connect = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("SITE.test").unwrap();
            connector.connect(name, stream).await.unwrap()
        };
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.unwrap()
        };
        let (_client, (stream, facts)) = tokio::join!(connect, accept);
        assert_eq!(facts.server_name.as_deref(), Some("site.test"));
        assert_eq!(facts.version, "TLSv1.3");
        assert_eq!(chose_http2(&stream), http2);
    }
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_ends() {
    let files = Files::new();
    let certificates = Certificates::load(&files.settings(None), metrics()).unwrap();
    let config = certificates.server_config(TlsVersion::V1_3).unwrap();
    let acceptor = Acceptor::new(config, Duration::from_millis(20), metrics());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(acceptor.accept(stream).await.is_none());
}
