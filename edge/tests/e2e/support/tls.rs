//! Certificates for edges, and clients that trust exactly those.

use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A self-signed certificate and its key.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) leaf: CertificateDer<'static>,
    /// Chain and key, as the edge reads them.
    pub(crate) pem: String,
}

/// Issues a certificate for these names.
pub(crate) fn issue(names: &[&str]) -> Issued {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(names)
        .expect("names")
        .self_signed(&key)
        .expect("a certificate");
    Issued {
        leaf: certificate.der().clone(),
        pem: certificate.pem() + &key.serialize_pem(),
    }
}

/// Who signs certificates of others.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, for a server of these names that is a client too; with a common name or without.
    pub(crate) fn issue(&self, names: &[&str], common_name: Option<&str>) -> String {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        certificate.pem() + &key.serialize_pem()
    }
}

/// A client's configuration that trusts `roots` and offers `protocols`.
pub(crate) fn client_config(
    roots: &[CertificateDer<'static>],
    protocols: &[&str],
) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).expect("a certificate");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A blocking TLS stream that agrees on this protocol alone. The handshake happens with the first bytes.
pub(crate) fn stream(
    roots: &[CertificateDer<'static>],
    name: &str,
    protocol: &str,
    socket: TcpStream,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let client = ClientConnection::new(client_config(roots, &[protocol]), name).expect("TLS");
    StreamOwned::new(client, socket)
}
