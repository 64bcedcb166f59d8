//! Who is asked: the host and the port of a request, from `Host`, `:authority` or an absolute target.
//!
//! RFC 9110 §4.2 and §7.2. What a valid host is, `jet9_config::HostName` decides, so a request and a site's domain are judged alike. An empty
//! port (`example.test:`) is refused though RFC 3986 §3.2.3 allows it: no client sends it, and servers read it differently.

use bytes::Bytes;
use jet9_cache::Scheme;
use jet9_config::HostName;
use jet9_config::names::HostBuffer;

use super::Rule;
use crate::message::Host;

/// A host and the port that was named with it.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Parses `uri-host [ ":" port ]`, copying nothing where the host is lower case already.
    pub(super) fn parse(text: &Bytes) -> Result<Self, Rule> {
        let (host, port) = split(text);
        Ok(Self {
            host: parse_host(&text.slice_ref(host))?,
            port: port.map(parse_port).transpose()?,
        })
    }

    /// Whether both mean the same server, a port left out being the scheme's.
    pub(super) fn agrees(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |port: Option<u16>| port.unwrap_or_else(|| default_port(scheme));
        self.host == other.host && port(self.port) == port(other.port)
    }
}

/// Of several namings of one request's server, the first that is there; all that are there have to agree.
pub(super) fn agreed(
    target: Option<Authority>,
    host: Option<Authority>,
    scheme: Scheme,
) -> Result<Authority, Rule> {
    match (target, host) {
        (Some(target), Some(host)) if !target.agrees(&host, scheme) => Err(Rule::HostMismatch),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Err(Rule::HostMissing),
    }
}

/// Parts the port from the host; the colons within brackets are the address's own.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = match text {
        [b'[', ..] => text.iter().position(|&byte| byte == b']').unwrap_or(0),
        _ => 0,
    };
    match text[from..].iter().position(|&byte| byte == b':') {
        Some(colon) => (&text[..from + colon], Some(&text[from + colon + 1..])),
        None => (text, None),
    }
}

fn parse_host(host: &Bytes) -> Result<Host, Rule> {
    let text = std::str::from_utf8(host).map_err(|_| Rule::HostInvalid)?;
    let mut buffer = HostBuffer::default();
    let canonical = HostName::canonical(text, &mut buffer).map_err(|_| Rule::HostInvalid)?;
    let canonical = canonical.as_bytes();
    Ok(Host::from_checked(if host.starts_with(canonical) {
        host.slice(..canonical.len())
    } else {
        Bytes::copy_from_slice(canonical)
    }))
}

fn parse_port(digits: &[u8]) -> Result<u16, Rule> {
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    if !all_digits || digits.is_empty() || digits.len() > 5 {
        return Err(Rule::HostPort);
    }
    let value = (digits.iter()).fold(0, |value: u32, digit| value * 10 + u32::from(digit - b'0'));
    match u16::try_from(value) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Rule::HostPort),
    }
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}
