//! TLS to an edge on another machine: whom the client trusts, and the handshake.
//!
//! Called by [`super::Client`]. Trusts what the user names and nobody else: the certificate of an edge is mostly one of the operator's own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connects to `host:port`, which must have a certificate for `host` that `ca` vouches for.
pub(super) async fn connect(address: &str, ca: Option<&Path>) -> io::Result<TlsStream<TcpStream>> {
    let ca = ca.ok_or_else(|| {
        io::Error::other("whom to trust is not said; give --ca or JET9_CA, a PEM file")
    })?;
    let (host, _) = address
        .rsplit_once(':')
        .ok_or(io::ErrorKind::InvalidInput)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| io::ErrorKind::InvalidInput)?;
    let connector = TlsConnector::from(Arc::new(config(ca)?));
    let stream = TcpStream::connect(address).await?;
    connector.connect(name, stream).await
}

fn config(ca: &Path) -> io::Result<ClientConfig> {
    let told =
        |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", ca.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| told(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| told(&error))?;
        roots.add(certificate).map_err(|error| told(&error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| told(&error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
