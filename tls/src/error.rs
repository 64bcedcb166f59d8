//! What can be wrong with a certificate or with the set-up of TLS, in words for the one who can mend it.
//!
//! A [`ChainError`] is the fault of the file or upload: the message says what to do, and the chain in force stays (invariant 6).
//! Any other [`TlsError`] means that the process cannot serve TLS at all. No message ever holds a byte of a key.

/// Why PEM bytes are not a usable chain with its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// More bytes than [`crate::chain::PEM_BYTES_MAX`].
    #[error(
        "{bytes} bytes is too long for a certificate chain (at most {max}): is it the right file?"
    )]
    TooLong {
        /// How many there were.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
    /// The PEM text breaks off or does not decode.
    #[error("not valid PEM: {0}")]
    Pem(String),
    /// No `CERTIFICATE` section.
    #[error(
        "no certificate found: expected PEM text with BEGIN CERTIFICATE sections, leaf first, and the private key"
    )]
    NoCertificate,
    /// More certificates than [`crate::chain::CERTIFICATES_MAX`].
    #[error("more than {max} certificates: give the leaf and its intermediates only")]
    TooManyCertificates {
        /// How many there may be.
        max: usize,
    },
    /// No private key.
    #[error("no private key found: append the unencrypted key (BEGIN PRIVATE KEY) to the chain")]
    NoKey,
    /// Two keys or more.
    #[error("more than one private key: give only the key of the first certificate")]
    ManyKeys,
    /// The key asks for a passphrase.
    #[error("the private key is encrypted: decrypt it first, for example with openssl pkey")]
    EncryptedKey,
    /// The key is of a kind or size that is not supported.
    #[error(
        "the private key is damaged or of an unsupported kind: use RSA of 2048 to 8192 bits, ECDSA P-256, P-384 or P-521, or Ed25519"
    )]
    UnsupportedKey,
    /// A certificate of the chain is not readable.
    #[error(
        "certificate {position} of the chain is not a readable X.509 version 3 certificate: {reason}"
    )]
    BadCertificate {
        /// Its place in the file, the leaf being 1.
        position: usize,
        /// What the parser found.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the private key does not belong to the first certificate: check that both were issued together"
    )]
    KeyMismatch,
    /// The key belongs to a later certificate of the file.
    #[error(
        "the private key belongs to certificate {position}, not to the first: put the leaf certificate first"
    )]
    LeafNotFirst {
        /// The place of the certificate that the key belongs to.
        position: usize,
    },
    /// The leaf names no host.
    #[error(
        "the certificate names no host in subjectAltName (the common name is not used by clients): issue it again with names"
    )]
    NoNames,
    /// More names than [`crate::chain::NAMES_MAX`].
    #[error("the certificate has more than {max} names")]
    TooManyNames {
        /// How many there may be.
        max: usize,
    },
    /// Its extended key usage leaves servers out.
    #[error(
        "the certificate is not meant for TLS servers (its extended key usage lacks serverAuth): issue it again"
    )]
    NotForServers,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate is not usable; what is in force stays.
    #[error("certificate {label}: {error}")]
    Chain {
        /// Where it came from: a file name, the name of an upload.
        label: String,
        /// What is wrong.
        #[source]
        error: ChainError,
    },
    /// The library refuses the settings or has no randomness.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    /// A metric could not be registered: two of one name.
    #[error("metrics of TLS cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}
