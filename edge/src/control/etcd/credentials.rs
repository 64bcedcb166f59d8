//! By what does the edge know members of an etcd, and they the edge? Certificates and password, as the files have them now.
//!
//! Asked by [`super::Etcd`] before every connection: what was renewed is in force with the next one, without a restart. What cannot be read, or
//! is not usable, changes nothing and is told of once (invariant 6); a pipe can be read once, and is. Files are read beside the runtime, one reading
//! at a time, and waited for no longer than a call: a disk that hangs costs no failover.
//! Knows no member.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use arc_swap::ArcSwap;
use jet9_config::node::Etcd as Config;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::CALL_WAIT;
use crate::control::watch::read_bounded;

/// Bytes of one of the files when it is read again.
const FILE_MAX: u64 = 16 << 20;

/// The credentials of an etcd's node file, kept up with its files.
#[derive(Debug)]
pub(super) struct Credentials {
    config: Arc<Config>,
    known: ArcSwap<Known>,
    /// Held by who reads; whether the last reading failed.
    failing: Mutex<bool>,
}

/// What is in force.
pub(super) struct Known {
    texts: Texts,
    /// How members are spoken to that speak TLS; `None`: none does.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) password: Option<Arc<str>>,
}

/// The files, as they were read.
#[derive(PartialEq, Eq)]
struct Texts {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

impl Credentials {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// When one of them cannot be read or holds nothing usable; the error names it.
    pub(super) fn open(config: Arc<Config>) -> io::Result<Self> {
        let known = Known::of(&config, Texts::read(&config, |path| std::fs::read(path))?)?;
        Ok(Self {
            config,
            known: ArcSwap::from_pointee(known),
            failing: Mutex::new(false),
        })
    }

    /// What is in force, after another look at the files.
    pub(super) async fn now(self: &Arc<Self>) -> Arc<Known> {
        if self.config.ca.is_some() || self.config.login.is_some() {
            let credentials = Arc::clone(self);
            let looking = tokio::task::spawn_blocking(move || credentials.look());
            // Whoever hangs goes on alone; others find its lock taken.
            let _ = timeout(CALL_WAIT, looking).await;
        }
        self.known.load_full()
    }

    fn look(&self) {
        let Some(mut failing) = self.failing.try_lock() else {
            return;
        };
        match self.renewed() {
            Ok(Some(known)) => {
                log::info!("etcd: renewed certificates or password are in force");
                self.known.store(Arc::new(known));
                *failing = false;
            }
            Ok(None) => *failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    log::error!("etcd: {error}; what was read before stays in force");
                }
            }
        }
    }

    fn renewed(&self) -> io::Result<Option<Known>> {
        let texts = Texts::read(&self.config, |path| read_bounded(path, FILE_MAX))?;
        if texts == self.known.load().texts {
            return Ok(None);
        }
        Known::of(&self.config, texts).map(Some)
    }
}

impl Texts {
    fn read(config: &Config, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> io::Result<Self> {
        let read = |path: &Path| read(path).map_err(|error| in_place(path, error));
        let password = config.login.as_ref().map(|(_, path)| path.as_path());
        Ok(Self {
            ca: config.ca.as_deref().map(read).transpose()?,
            certificate: config.certificate.as_deref().map(read).transpose()?,
            password: password.map(read).transpose()?,
        })
    }
}

/// Tells nothing of what is secret.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    fn of(config: &Config, texts: Texts) -> io::Result<Self> {
        let ca = config.ca.as_deref().zip(texts.ca.as_deref());
        let own = config
            .certificate
            .as_deref()
            .zip(texts.certificate.as_deref());
        let password = config.login.as_ref().zip(texts.password.as_deref());
        let password = password.map(|((_, path), text)| {
            let text = std::str::from_utf8(text).map_err(|error| in_place(path, error))?;
            let first = text.lines().next().filter(|line| !line.is_empty());
            let first = first.ok_or_else(|| in_place(path, "no password in its first line"))?;
            io::Result::Ok(first.into())
        });
        Ok(Self {
            tls: ca.map(|ca| tls(ca, own)).transpose()?.map(Arc::new),
            password: password.transpose()?,
            texts,
        })
    }
}

/// Verifies members by who is in the file `ca`, and shows them the certificate of the other file, if they ask for one.
fn tls((ca, trusted): (&Path, &[u8]), own: Option<(&Path, &[u8])>) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let trusted = roots(trusted).map_err(|error| in_place(ca, error))?;
    let config = config.with_root_certificates(trusted);
    let Some((path, pem)) = own else {
        return Ok(config.with_no_client_auth());
    };
    let (chain, key) = chain_and_key(pem).map_err(|error| in_place(path, error))?;
    let config = config.with_client_auth_cert(chain, key);
    config.map_err(|error| in_place(path, error))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    Ok(roots)
}

fn chain_and_key(
    pem: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let key = PrivateKeyDer::from_pem_slice(pem);
    Ok((
        chain.map_err(|error| error.to_string())?,
        key.map_err(|error| error.to_string())?,
    ))
}

fn in_place(path: &Path, error: impl fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use jet9_config::node::EtcdEndpoint;
    use rcgen::generate_simple_self_signed;

    use super::*;

    fn pem() -> String {
        let issued = generate_simple_self_signed(["edge.test".to_owned()]).expect("a certificate");
        issued.cert.pem() + &issued.signing_key.serialize_pem()
    }

    #[tokio::test]
    async fn what_is_renewed_is_in_force_and_what_is_broken_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name);
        let put = |name: &str, text: &str| fs::write(file(name), text).expect("a file");
        put("ca", &pem());
        put("own", &pem());
        put("password", "first\n");
        let config = Config {
            endpoints: vec![EtcdEndpoint::parse("https://127.0.0.1:1").expect("a URL")],
            prefix: "/jet9".into(),
            ca: Some(file("ca")),
            certificate: Some(file("own")),
            login: Some(("edge".into(), file("password"))),
        };
        let credentials = Credentials::open(Arc::new(config)).expect("good files");
        let credentials = Arc::new(credentials);
        let first = credentials.now().await;
        let same = credentials.now().await;
        assert!(Arc::ptr_eq(&first, &same), "nothing was renewed");
        for name in ["ca", "own", "password"] {
            let before = credentials.now().await;
            let good = fs::read_to_string(file(name)).expect("a file");
            if name != "password" {
                put(name, &good[..good.len() / 3]);
                assert!(
                    Arc::ptr_eq(&before, &credentials.now().await),
                    "{name}: cut"
                );
            }
            fs::remove_file(file(name)).expect("remove");
            assert!(
                Arc::ptr_eq(&before, &credentials.now().await),
                "{name}: gone"
            );
            let renewed = if name == "password" {
                "second\n"
            } else {
                &pem()
            };
            put(name, renewed);
            let after = credentials.now().await;
            assert!(!Arc::ptr_eq(&before, &after), "{name}: renewed");
            assert!(!*credentials.failing.lock());
        }
        // Who replaces it has written nothing yet.
        put("password", "");
        let last = credentials.now().await;
        assert_eq!(last.password.as_deref(), Some("second"));
        assert!(*credentials.failing.lock());
        assert!(!format!("{credentials:?}").contains("second"));
    }

    #[tokio::test]
    async fn what_can_be_read_once_is_read_once() {
        // As a shell gives it: `--password-file <(…)`.
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(b"first\n").expect("room");
        drop(writer);
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let config = Config {
            endpoints: vec![EtcdEndpoint::parse("http://127.0.0.1:1").expect("a URL")],
            prefix: "/jet9".into(),
            ca: None,
            certificate: None,
            login: Some(("edge".into(), path.into())),
        };
        let credentials = Credentials::open(Arc::new(config)).expect("a password");
        let known = Arc::new(credentials).now().await;
        assert_eq!(known.password.as_deref(), Some("first"));
    }
}
