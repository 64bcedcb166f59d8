//! The names of things, parsed once at the border: hosts, sites, clusters, sides.
//!
//! Called for every name of a document, and for the Host or authority of every request (RFC 9110 §7.2, the `uri-host` of RFC 3986 §3.2.2),
//! which is why [`HostName::canonical`] exists: it allocates nothing. DNS names are those of RFC 1123 §2.1 with `_` added, as names in
//! use have it. Knows nothing of ports, userinfo or international names in their own script: those are refused.
//! Invariant: two names of one host are equal texts, so a map keyed by a name can be asked with a `&str` in canonical form.

use std::borrow::Borrow;
use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The longest host name: 253 characters, without the trailing dot (RFC 1035 §2.3.4, less the length octets).
pub const HOST_NAME_MAX: usize = 253;

/// The longest label of a DNS name (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// The longest id of a site or a cluster.
const ID_MAX: usize = 64;

/// The grammar of ids as a regular expression (ECMA-262), for the description of the admin API.
pub const ID_PATTERN: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$";

/// What every domain of a site looks like, likewise; not all that look so are one.
pub(crate) const DOMAIN_PATTERN: &str =
    r"^((\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])$";

/// A DNS name or an IP literal: lower case, no port, no trailing dot. IPv6 literals keep their brackets and are written as RFC 5952 says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// The name of a site: 1 to 64 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(Arc<str>);

/// The name of a cluster: the same alphabet as [`SiteId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(Arc<str>);

/// A place: one of the two data centres of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Side `a`.
    A,
    /// Side `b`.
    B,
}

/// A name that is not one; says which rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// Room for a host name in canonical form, on the stack of the caller.
#[derive(Clone, Debug)]
pub struct HostBuffer([u8; HOST_NAME_MAX]);

impl Default for HostBuffer {
    fn default() -> Self {
        Self([0; HOST_NAME_MAX])
    }
}

impl HostName {
    /// Parses a host without port; upper case is folded, one trailing dot dropped. Allocates once.
    ///
    /// # Errors
    /// When it is neither a DNS name nor an IP literal.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut buffer = HostBuffer::default();
        Self::canonical(text, &mut buffer).map(|text| Self(text.into()))
    }

    /// The canonical form of a host without port: `text` itself where it has it already, else written to `buffer`. Allocates
    /// nothing unless the text is refused; made for looking up the site of a request.
    ///
    /// # Errors
    /// When it is neither a DNS name nor an IP literal.
    pub fn canonical<'t>(text: &'t str, buffer: &'t mut HostBuffer) -> Result<&'t str, NameError> {
        if let Some(inner) = text.strip_prefix('[') {
            return canonical_ipv6(inner, buffer);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        check_dns_name(text)?;
        if !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(text);
        }
        let folded = &mut buffer.0[..text.len()];
        folded.copy_from_slice(text.as_bytes());
        folded.make_ascii_lowercase();
        as_text(folded)
    }

    /// Whether the text is a host that [`parse`](Self::parse) takes.
    pub fn is_valid(text: &str) -> bool {
        Self::canonical(text, &mut HostBuffer::default()).is_ok()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Whether this is an IP literal.
    pub fn is_ip(&self) -> bool {
        is_ip(&self.0)
    }

    /// What a canonical name is one label below of: `shop.example` of `www.shop.example`. None for one label and for IP literals.
    /// This is where a wildcard that matches `host` is found.
    pub fn parent(host: &str) -> Option<&str> {
        let (_, parent) = host.split_once('.')?;
        (!is_ip(host)).then_some(parent)
    }
}

impl Side {
    /// `a` or `b`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The side of this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            _ => None,
        }
    }

    /// The other one of the two.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl SiteId {
    /// Parses a site's id.
    ///
    /// # Errors
    /// When a character or the length is not allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_id("site", text).map(|()| Self(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ClusterId {
    /// Parses a cluster's id.
    ///
    /// # Errors
    /// When a character or the length is not allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_id("cluster", text).map(|()| Self(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SiteId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ClusterId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token of RFC 9110 §5.6.2, of at most 64 characters: what a node may be called, since its name stands in `Via` and `Cache-Status`.
///
/// # Errors
/// When a character or the length is not allowed.
pub fn check_token(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > ID_MAX {
        return Err(refused("expected 1 to 64 characters"));
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match text.chars().find(|c| !c.is_ascii() || !is_token(*c as u8)) {
        Some(character) => Err(NameError(format!(
            "{character:?} is not allowed: letters, digits and !#$%&'*+-.^_`|~ are"
        ))),
        None => Ok(()),
    }
}

fn check_dns_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(refused("the host is empty"));
    }
    if text.len() > HOST_NAME_MAX {
        return Err(refused("a host has at most 253 characters"));
    }
    let mut last = "";
    for label in text.split('.') {
        check_label(label)?;
        last = label;
    }
    if is_number(last) && text.parse::<Ipv4Addr>().is_err() {
        return Err(refused(
            "a host that ends in a number must be an IPv4 address such as 192.0.2.1",
        ));
    }
    Ok(())
}

fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(refused("a label of the host is empty"));
    }
    if label.len() > LABEL_MAX {
        return Err(refused("a label of a host has at most 63 characters"));
    }
    match label
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))
    {
        None => Ok(()),
        Some(':') => Err(refused(
            "a host has no port here, and an IPv6 address stands in brackets: [2001:db8::1]",
        )),
        Some(character) if !character.is_ascii() => Err(refused(
            "a host is ASCII: write an international name as xn--…",
        )),
        Some(character) => Err(NameError(format!("{character:?} is not allowed in a host"))),
    }
}

/// A last label that address parsers of other programs take for a part of an IPv4 address, in decimal or hexadecimal: what one program
/// takes for a name and another for an address must not pass.
fn is_number(label: &str) -> bool {
    let hexadecimal = (label.strip_prefix("0x")).or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn canonical_ipv6<'b>(inner: &str, buffer: &'b mut HostBuffer) -> Result<&'b str, NameError> {
    let address: Ipv6Addr = (inner.strip_suffix(']'))
        .and_then(|inner| inner.parse().ok())
        .ok_or_else(|| refused("expected an IPv6 address in brackets such as [2001:db8::1]"))?;
    let mut rest = &mut buffer.0[..];
    write!(rest, "[{address}]").map_err(|_| refused("the address is too long"))?;
    let length = HOST_NAME_MAX - rest.len();
    as_text(&buffer.0[..length])
}

fn as_text(bytes: &[u8]) -> Result<&str, NameError> {
    std::str::from_utf8(bytes).map_err(|_| refused("a host is ASCII"))
}

/// Of a canonical name: a name whose last label is a number is an IPv4 address.
fn is_ip(host: &str) -> bool {
    host.starts_with('[')
        || host
            .bytes()
            .last()
            .is_some_and(|byte| byte.is_ascii_digit())
            && host.parse::<Ipv4Addr>().is_ok()
}

fn check_id(what: &str, text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > ID_MAX {
        return Err(NameError(format!(
            "the id of a {what} has 1 to {ID_MAX} characters"
        )));
    }
    if text.starts_with('.') {
        return Err(NameError(format!(
            "the id of a {what} does not begin with a dot"
        )));
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))
    {
        Some(character) => Err(NameError(format!(
            "{character:?} is not allowed in the id of a {what}: letters, digits, `.`, `_` and `-` are"
        ))),
        None => Ok(()),
    }
}

fn refused(why: &str) -> NameError {
    NameError(why.to_owned())
}

#[cfg(test)]
mod tests;
