//! Which site a request is for: 421 when TLS and Host disagree, 404 when nobody has the name.
//!
//! Called first by `story`. Pure: asks the table of sites in force. Implements RFC 9110 §7.4 (misdirected requests). Knows nothing of
//! certificates: a client that sent no server name, or came in clear, is judged by its Host alone.

use std::sync::Arc;

use crate::control::sites::{Named, Sites};
use crate::message::Host;
use crate::request::client::Client;
use crate::response::fault::ClientFault;

/// The site that a request names, and the host as it goes into keys.
///
/// # Errors
/// [`ClientFault::UnknownHost`], or [`ClientFault::Misdirected`] when the handshake was for another site: its certificate vouched for
/// that one, and connection reuse by HTTP/2 clients must not lead from one customer's site to another's.
pub fn find(sites: &Sites, client: &Client, host: &Host) -> Result<Named, ClientFault> {
    let named = sites.find(host.as_str()).ok_or(ClientFault::UnknownHost)?;
    match server_name(client) {
        Some(name) if name != host.as_str() && !belongs_to(sites, name, &named) => {
            Err(ClientFault::Misdirected)
        }
        _ => Ok(named),
    }
}

fn server_name(client: &Client) -> Option<&str> {
    client.tls.as_ref()?.server_name.as_deref()
}

fn belongs_to(sites: &Sites, name: &str, named: &Named) -> bool {
    sites
        .find(name)
        .is_some_and(|other| Arc::ptr_eq(&other.site, &named.site))
}
