//! Chains that are good, and each way in which one can be bad. [`Issued`] is also what the tests of the other modules issue with.

use std::net::Ipv4Addr;
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

use super::*;

/// A certificate to be issued by an authority of the test's own.
#[derive(Clone)]
pub(crate) struct Issued {
    params: CertificateParams,
}

/// What was issued, in PEM.
pub(crate) struct Pem {
    pub(crate) leaf: String,
    pub(crate) authority: String,
    pub(crate) key: String,
}

impl Issued {
    pub(crate) fn for_names(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            params: CertificateParams::new(names).expect("names"),
        }
    }

    pub(crate) fn from(mut self, unix_seconds: i64) -> Self {
        self.params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(unix_seconds);
        self
    }

    pub(crate) fn until(mut self, unix_seconds: i64) -> Self {
        self.params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(unix_seconds);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.params);
        self
    }

    pub(crate) fn pem(&self) -> Pem {
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let authority_pem = authority.self_signed(&authority_key).expect("signed").pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = self.params.signed_by(&key, &issuer).expect("signed").pem();
        Pem {
            leaf,
            authority: authority_pem,
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn chain(&self) -> Chain {
        self.pem().chain()
    }
}

impl Pem {
    pub(crate) fn chain(&self) -> Chain {
        Chain::parse(self.whole().as_bytes()).expect("a chain")
    }

    fn whole(&self) -> String {
        format!("{}{}{}", self.leaf, self.authority, self.key)
    }
}

fn since_1970(unix_seconds: i64) -> Duration {
    Duration::from_secs(unix_seconds.try_into().expect("after 1970"))
}

fn check(pem: &str, expected: &ChainError) {
    let error = Chain::parse(pem.as_bytes()).expect_err("refused");
    assert_eq!(&error, expected);
    assert!(!error.to_string().is_empty());
}

#[test]
fn a_chain_with_its_key_is_read_in_whatever_place_the_key_stands() {
    let pem = Issued::for_names(&["Example.com", "*.example.com", "example.com"])
        .from(1_000)
        .until(2_000)
        .pem();
    for text in [
        pem.whole(),
        format!("{}{}{}", pem.key, pem.leaf, pem.authority),
        format!("text before\r\n{}", pem.whole().replace('\n', "\r\n")),
    ] {
        let chain = Chain::parse(text.as_bytes()).expect("a chain");
        let names: Vec<String> = chain.names().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["example.com", "*.example.com"]);
        assert_eq!(chain.certified_key().cert.len(), 2);
        assert_eq!(
            (chain.not_before(), chain.not_after()),
            (UnixSeconds(1_000), UnixSeconds(2_000))
        );
    }
}

#[test]
fn both_ends_of_a_life_belong_to_it() {
    let chain = Issued::for_names(&["a.example"])
        .from(1_000)
        .until(2_000)
        .chain();
    for (now, validity) in [
        (999, Validity::NotYet),
        (1_000, Validity::Valid),
        (2_000, Validity::Valid),
        (2_001, Validity::Expired),
    ] {
        assert_eq!(chain.validity(UnixSeconds(now)), validity, "{now}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let one = Issued::for_names(&["a.example"]).pem();
    let other = Issued::for_names(&["a.example"]).pem();
    check(
        &format!("{}{}{}", one.leaf, one.authority, other.key),
        &ChainError::KeyMismatch,
    );
}

#[test]
fn a_chain_in_the_wrong_order_is_told_so() {
    let authority_first = Issued::for_names(&["a.example"]).pem();
    let named = Issued::for_names(&["b.example"]).pem();
    check(
        &format!(
            "{}{}{}",
            named.leaf, authority_first.leaf, authority_first.key
        ),
        &ChainError::LeafNotFirst { position: 2 },
    );
}

#[test]
fn what_is_not_a_chain_is_refused_with_a_reason() {
    let pem = Issued::for_names(&["a.example"]).pem();
    check("", &ChainError::NoCertificate);
    check("garbage\n\u{0}\u{1}", &ChainError::NoCertificate);
    check(&pem.key, &ChainError::NoCertificate);
    check(&pem.leaf, &ChainError::NoKey);
    check(
        &format!("{}{}{}", pem.leaf, pem.key, pem.key),
        &ChainError::ManyKeys,
    );
    check(
        &format!("{}{}", pem.leaf.repeat(CERTIFICATES_MAX + 1), pem.key),
        &ChainError::TooManyCertificates {
            max: CERTIFICATES_MAX,
        },
    );
    check(
        &" ".repeat(PEM_BYTES_MAX + 1),
        &ChainError::TooLong {
            bytes: PEM_BYTES_MAX + 1,
            max: PEM_BYTES_MAX,
        },
    );
    let encrypted = pem.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    check(
        &format!("{}{encrypted}", pem.leaf),
        &ChainError::EncryptedKey,
    );
    let bad_key = "-----BEGIN PRIVATE KEY-----\nMAMCAQA=\n-----END PRIVATE KEY-----\n";
    check(
        &format!("{}{bad_key}", pem.leaf),
        &ChainError::UnsupportedKey,
    );
}

#[test]
fn a_damaged_certificate_is_refused_by_its_place() {
    let pem = Issued::for_names(&["a.example"]).pem();
    let damaged = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n";
    for (text, place) in [
        (format!("{damaged}{}", pem.key), 1),
        (format!("{}{damaged}{}", pem.leaf, pem.key), 2),
    ] {
        let error = Chain::parse(text.as_bytes()).expect_err("refused");
        assert!(
            matches!(error, ChainError::BadCertificate { position, .. } if position == place),
            "{error}"
        );
    }
}

#[test]
fn a_file_cut_short_is_refused_and_the_message_holds_nothing_of_it() {
    let pem = Issued::for_names(&["a.example"]).pem();
    let text = format!("{}{}", pem.leaf, pem.key);
    for cut in 0..text.len() {
        let Err(error) = Chain::parse(&text.as_bytes()[..cut]) else {
            // Only the line end after the last dash may be missing.
            assert!(cut >= text.trim_end().len(), "{cut}");
            continue;
        };
        for line in pem.key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!error.to_string().contains(line) && !format!("{error:?}").contains(line));
        }
    }
}

#[test]
fn a_certificate_without_names_is_refused_even_with_a_common_name() {
    let nameless = Issued::for_names(&[]).with(|params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "a.example")
    });
    check(&nameless.pem().whole(), &ChainError::NoNames);
    let odd = Issued::for_names(&["a*.example"]);
    check(&odd.pem().whole(), &ChainError::NoNames);
}

#[test]
fn addresses_are_kept_apart_from_names() {
    let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    let chain = Issued::for_names(&[])
        .with(|params| params.subject_alt_names.push(SanType::IpAddress(address)))
        .chain();
    assert_eq!(
        (chain.names(), chain.addresses()),
        (&[][..], &[address][..])
    );
}

#[test]
fn a_certificate_for_clients_only_is_refused() {
    let usage = |usage| {
        Issued::for_names(&["a.example"])
            .with(|params| params.extended_key_usages.push(usage))
            .pem()
    };
    check(
        &usage(ExtendedKeyUsagePurpose::ClientAuth).whole(),
        &ChainError::NotForServers,
    );
    usage(ExtendedKeyUsagePurpose::ServerAuth).chain();
    usage(ExtendedKeyUsagePurpose::Any).chain();
}

#[test]
fn a_chain_does_not_print_its_key() {
    let printed = format!("{:?}", Issued::for_names(&["a.example"]).chain());
    assert!(
        printed.contains("a.example") && !printed.to_lowercase().contains("key"),
        "{printed}"
    );
}
