//! What names a stored response: partition, scheme, host, and path with query, as normalised by the site's rules.
//!
//! Built once per request by `edge::request::key`; no allocation when nothing had to be normalised. Two hashes are taken with a
//! secret of the node, so that nobody can aim a collision: `primary` names the stored responses of one key (all its variants), `url`
//! names what a purge of the URL hits (every scheme and variant). Hashes find; the full key is compared before anything is served.
//! GET and HEAD share a key: there is one method class, and other methods are never stored.

use bytes::Bytes;
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher24};

/// The share of the store that one site owns. Assigned by [`crate::Cache::partition`], durable, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

/// The scheme of the target URI. Part of the key: a site that redirects http to https must not see its redirect served over https.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The name of a stored response and all its variants.
#[derive(Clone, Debug)]
pub struct Key {
    partition: Partition,
    scheme: Scheme,
    host: Arc<str>,
    path_and_query: Bytes,
    primary: u128,
    url: u128,
}

/// Makes keys: holds the node's secret.
#[derive(Clone, Debug)]
pub struct KeyHasher {
    secret: [u8; 16],
}

impl KeyHasher {
    /// A hasher with this node's secret.
    pub const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// The key of a target URI; `path_and_query` is already normalised.
    pub fn key(
        &self,
        partition: Partition,
        scheme: Scheme,
        host: Arc<str>,
        path_and_query: Bytes,
    ) -> Key {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write_u32(partition.0);
        hasher.write_usize(host.len());
        hasher.write(host.as_bytes());
        hasher.write(&path_and_query);
        let url = hasher.finish128().as_u128();
        hasher.write_u8(match scheme {
            Scheme::Http => 0,
            Scheme::Https => 1,
        });
        let primary = hasher.finish128().as_u128();
        Key {
            partition,
            scheme,
            host,
            path_and_query,
            primary,
            url,
        }
    }

    /// A 128-bit hash of anything else that this node names by hash (tags, prefixes, selecting fields).
    pub fn hash(&self, bytes: &[u8]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }
}

impl Key {
    /// The partition that the key lies in.
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// The scheme of the target URI.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, lower case, without port.
    pub const fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The normalised path and query.
    pub const fn path_and_query(&self) -> &Bytes {
        &self.path_and_query
    }

    /// The hash that finds the stored responses of this key.
    pub const fn primary(&self) -> u128 {
        self.primary
    }

    /// The hash that a purge of the URL names: alike for every scheme.
    pub const fn url(&self) -> u128 {
        self.url
    }

    /// The same key in memory of its own: it pins no buffer of the request that it came with.
    pub(crate) fn detached(&self) -> Self {
        let path_and_query = Bytes::copy_from_slice(&self.path_and_query);
        Self {
            path_and_query,
            ..self.clone()
        }
    }

    /// The same key with bytes of its own: one made for a request is a slice of its connection's read buffer, which it would pin for
    /// as long as it is stored.
    #[must_use]
    pub fn to_kept(&self) -> Self {
        Self {
            path_and_query: Bytes::copy_from_slice(&self.path_and_query),
            ..self.clone()
        }
    }

    /// Whether both name the same thing, byte by byte.
    pub fn is_same(&self, other: &Self) -> bool {
        self.primary == other.primary
            && self.partition == other.partition
            && self.scheme == other.scheme
            && self.host == other.host
            && self.path_and_query == other.path_and_query
    }
}
