//! Are these PEM bytes a certificate chain that a client will accept, with its key?
//!
//! Asked once for each file or upload, by `edge` when it loads certificates. Text is RFC 7468, certificates are RFC 5280. The leaf comes
//! first; hosts come from subjectAltName only (RFC 9525 §6.3, Appendix A: the common name is no host).
//! Does not build a path to a root: what clients trust is not known here; nor does it refuse by date, which changes while it is held.
//! Invariant: the key of a [`Chain`] is the key of its first certificate, so that a handshake with it cannot fail for that.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::error::ChainError;
use crate::name::CertificateName;

/// The most bytes of PEM that are looked at: a leaf with a thousand names and four intermediates fits several times.
pub const PEM_BYTES_MAX: usize = 256 * 1024;
/// The most certificates in a chain; real ones have two to four.
pub const CERTIFICATES_MAX: usize = 10;
/// The most names of one leaf; public authorities stop at 100 to 1,000.
pub const NAMES_MAX: usize = 2_000;

/// Seconds since 1970 in UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

/// Where a moment lies in a certificate's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// It is over.
    Expired,
    /// It has not begun.
    NotYet,
    /// Within.
    Valid,
}

/// A certificate chain and its key, checked. Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    certified: Arc<CertifiedKey>,
    names: Arc<[CertificateName]>,
    addresses: Arc<[IpAddr]>,
    not_before: UnixSeconds,
    not_after: UnixSeconds,
    issuer: Arc<str>,
}

impl Chain {
    /// Checks the chain and the key in one PEM body, in any order as long as the leaf is the first certificate.
    ///
    /// # Errors
    /// Says what to mend. An expired leaf is not an error: see [`Chain::validity`].
    pub fn parse(pem: &[u8]) -> Result<Self, ChainError> {
        let Sections { certificates, key } = Sections::read(pem)?;
        let leaf = Leaf::read(&certificates)?;
        let key = any_supported_type(&key).map_err(|_| ChainError::UnsupportedKey)?;
        let certified = match_key(certificates, key)?;
        Ok(Self {
            certified: Arc::new(certified),
            names: leaf.names.into(),
            addresses: leaf.addresses.into(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            issuer: leaf.issuer.into(),
        })
    }

    /// Who issued the leaf, as a distinguished name for people: `C=…, O=…, CN=…`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The DNS names of the leaf, each once, in order of the certificate.
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// The IP addresses of the leaf. Clients send no SNI for an address (RFC 6066 §3): only a default certificate can answer them.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// When its life begins, inclusive.
    pub const fn not_before(&self) -> UnixSeconds {
        self.not_before
    }

    /// When its life ends, inclusive (RFC 5280 §4.1.2.5).
    pub const fn not_after(&self) -> UnixSeconds {
        self.not_after
    }

    /// Whether it is in its life at `now`.
    pub fn validity(&self, now: UnixSeconds) -> Validity {
        if now > self.not_after {
            Validity::Expired
        } else if now < self.not_before {
            Validity::NotYet
        } else {
            Validity::Valid
        }
    }

    /// What rustls signs with.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// Without the key, whatever the libraries print of theirs.
impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("names", &self.names)
            .field("addresses", &self.addresses)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What the PEM text holds, before anything is believed.
struct Sections {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Sections {
    fn read(pem: &[u8]) -> Result<Self, ChainError> {
        if pem.len() > PEM_BYTES_MAX {
            return Err(ChainError::TooLong {
                bytes: pem.len(),
                max: PEM_BYTES_MAX,
            });
        }
        let mut certificates = Vec::new();
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            match section.map_err(|error| pem_error(pem, &error))? {
                (SectionKind::Certificate, der) => certificates.push(CertificateDer::from(der)),
                (kind, der) => keys.extend(PrivateKeyDer::from_pem(kind, der)),
            }
        }
        if certificates.is_empty() {
            return Err(ChainError::NoCertificate);
        }
        if certificates.len() > CERTIFICATES_MAX {
            return Err(ChainError::TooManyCertificates {
                max: CERTIFICATES_MAX,
            });
        }
        Ok(Self {
            certificates,
            key: only_key(keys, pem)?,
        })
    }
}

fn only_key(
    mut keys: Vec<PrivateKeyDer<'static>>,
    pem: &[u8],
) -> Result<PrivateKeyDer<'static>, ChainError> {
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(ChainError::ManyKeys),
        (None, _) if is_encrypted(pem) => Err(ChainError::EncryptedKey),
        (None, _) => Err(ChainError::NoKey),
    }
}

fn pem_error(pem: &[u8], error: &rustls_pki_types::pem::Error) -> ChainError {
    use rustls_pki_types::pem::Error;
    if is_encrypted(pem) {
        return ChainError::EncryptedKey;
    }
    // The library's own words may hold a line of the input, and the input holds a key.
    ChainError::Pem(
        match error {
            Error::MissingSectionEnd { .. } => "a section has no END line; is the file cut short?",
            Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
            Error::Base64Decode(_) => "a section is not base64",
            Error::SectionTooLarge => "a section is too long",
            _ => "it cannot be read",
        }
        .to_owned(),
    )
}

/// Neither needle can occur inside base64: PKCS #8 names it in the label, the older form in a header (RFC 1421 §4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let holds = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
    holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"4,ENCRYPTED")
}

/// What the leaf says of itself.
struct Leaf {
    names: Vec<CertificateName>,
    addresses: Vec<IpAddr>,
    not_before: UnixSeconds,
    not_after: UnixSeconds,
    issuer: String,
}

impl Leaf {
    /// Reads the first certificate, and sees that the others can be read at all.
    fn read(certificates: &[CertificateDer<'static>]) -> Result<Self, ChainError> {
        let mut leaf = None;
        for (index, der) in certificates.iter().enumerate() {
            let parsed = parse_certificate(index + 1, der)?;
            if index == 0 {
                leaf = Some(Self::of(&parsed)?);
            }
        }
        leaf.ok_or(ChainError::NoCertificate)
    }

    fn of(certificate: &X509Certificate<'_>) -> Result<Self, ChainError> {
        let (names, addresses) = alternative_names(certificate)?;
        check_usage(certificate)?;
        Ok(Self {
            names,
            addresses,
            not_before: UnixSeconds(certificate.validity().not_before.timestamp()),
            not_after: UnixSeconds(certificate.validity().not_after.timestamp()),
            issuer: certificate.issuer().to_string(),
        })
    }
}

fn parse_certificate(position: usize, der: &[u8]) -> Result<X509Certificate<'_>, ChainError> {
    let bad = |reason: String| ChainError::BadCertificate { position, reason };
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(bad("bytes follow it".to_owned())),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn alternative_names(
    certificate: &X509Certificate<'_>,
) -> Result<(Vec<CertificateName>, Vec<IpAddr>), ChainError> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|error| ChainError::BadCertificate {
            position: 1,
            reason: format!("subjectAltName: {error}"),
        })?
        .ok_or(ChainError::NoNames)?;
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    for name in &extension.value.general_names {
        match name {
            // One odd name among good ones is no reason to lose the good ones: no client would match it.
            GeneralName::DNSName(text) => names.extend(CertificateName::parse(text)),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
        if names.len() > NAMES_MAX {
            return Err(ChainError::TooManyNames { max: NAMES_MAX });
        }
    }
    keep_first(&mut names);
    if names.is_empty() && addresses.is_empty() {
        return Err(ChainError::NoNames);
    }
    Ok((names, addresses))
}

fn keep_first(names: &mut Vec<CertificateName>) {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// RFC 5280 §4.2.1.12: no extended key usage means any.
fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
    let usage = certificate
        .extended_key_usage()
        .map_err(|error| ChainError::BadCertificate {
            position: 1,
            reason: format!("extendedKeyUsage: {error}"),
        })?;
    match usage {
        Some(usage) if !usage.value.server_auth && !usage.value.any => {
            Err(ChainError::NotForServers)
        }
        _ => Ok(()),
    }
}

fn match_key(
    certificates: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, ChainError> {
    let certified = CertifiedKey::new(certificates, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InvalidCertificate(error)) => Err(ChainError::BadCertificate {
            position: 1,
            reason: format!("{error:?}"),
        }),
        Err(_) => Err(where_key_belongs(&certified)),
    }
}

/// The commonest mistake is a chain in the wrong order: say so.
fn where_key_belongs(certified: &CertifiedKey) -> ChainError {
    let belongs = |der: &CertificateDer<'static>| {
        CertifiedKey::new(vec![der.clone()], Arc::clone(&certified.key))
            .keys_match()
            .is_ok()
    };
    match certified.cert.iter().position(belongs) {
        Some(index) => ChainError::LeafNotFirst {
            position: index + 1,
        },
        None => ChainError::KeyMismatch,
    }
}

#[cfg(test)]
pub(crate) mod tests;
