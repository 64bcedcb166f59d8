//! Which hosts does a name in a certificate cover?
//!
//! Asked by [`crate::chain`] when it reads subjectAltName and by [`crate::store`] when it looks a name up. RFC 9525 §6.3: names compare
//! without regard to case, and a wildcard is the whole left-most label and stands for exactly one label. Knows no public suffixes: what
//! an authority issued is taken as issued. Invariant: a [`CertificateName`] is lower case and a well-formed DNS name.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest DNS name in text, in bytes (RFC 1035 §2.3.4, without the root's dot).
const NAME_BYTES_MAX: usize = 253;
/// The longest label, in bytes (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// A DNS name as a certificate presents it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateName {
    /// One host.
    Exact(Arc<str>),
    /// Every host one label below this name, which is kept without its `*.`.
    Wildcard(Arc<str>),
}

impl CertificateName {
    /// Reads a dNSName; `None` when it is not one that any client would match.
    pub fn parse(text: &str) -> Option<Self> {
        let name = normalize(text);
        match name.strip_prefix("*.") {
            Some(parent) => is_dns_name(parent).then(|| Self::Wildcard(parent.into())),
            None => is_dns_name(&name).then(|| Self::Exact(name.as_ref().into())),
        }
    }

    /// Whether `host` is covered.
    pub fn covers(&self, host: &str) -> bool {
        let host = normalize(host);
        match self {
            Self::Exact(name) => **name == *host,
            Self::Wildcard(parent) => parent_of(&host) == Some(parent),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Lower case and without the trailing dot; allocates only when there is something to fold.
pub(crate) fn normalize(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// What follows the left-most label, if that label is a plain one (a host never has a `*` of its own).
pub(crate) fn parent_of(host: &str) -> Option<&str> {
    let (label, parent) = host.split_once('.')?;
    is_label(label).then_some(parent)
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label) && !ends_in_number(name)
}

/// Letters, digits and hyphens, as hosts are; the underscore too, because names in use have it.
fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        })
}

/// An IPv4 address written as a dNSName is not a name (RFC 9525 §7.4 has clients compare addresses as addresses).
fn ends_in_number(name: &str) -> bool {
    name.rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(presented: &str, host: &str, covered: bool) {
        let name = CertificateName::parse(presented).expect("a name");
        assert_eq!(name.covers(host), covered, "{presented} covers {host}");
    }

    #[test]
    fn a_name_covers_itself_without_regard_to_case_or_root_dot() {
        check("example.com", "example.com", true);
        check("Example.COM", "eXample.com.", true);
        check("example.com", "www.example.com", false);
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        check("*.example.com", "www.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", "a.b.example.com", false);
        check("*.example.com", ".example.com", false);
        check("*.example.com", "*.example.com", false);
    }

    #[test]
    fn odd_names_are_not_names() {
        for text in [
            "",
            ".",
            "*",
            "*.",
            "w*.example.com",
            "a.*.com",
            "a..b",
            "-a.com",
            "a-.com",
            "a b.com",
            "192.0.2.1",
            "*.*.com",
            "bücher.de",
        ] {
            assert_eq!(CertificateName::parse(text), None, "{text}");
        }
        assert_eq!(
            CertificateName::parse(&format!("{}.com", "a".repeat(64))),
            None
        );
        assert_eq!(CertificateName::parse(&["a"; 128].join(".")), None);
    }

    #[test]
    fn a_name_is_printed_as_it_is_written() {
        for text in ["example.com", "*.example.com", "_x.example.com"] {
            assert_eq!(
                CertificateName::parse(text).expect("a name").to_string(),
                text
            );
        }
    }
}
