//! Purge calls, from the admin API and in-band, turned into purges of the store.

use crate::control::sites::SiteRuntime;
use crate::message::{Request, Response};
use crate::parts::Edge;
use crate::request::client::Client;
use crate::response::fault::{ClientFault, Fault};

/// Answers a purge that came on one of the site's own names.
///
/// # Errors
/// When the client may not purge, or the purge is none.
pub async fn in_band(
    _edge: &Edge,
    _site: &SiteRuntime,
    _request: &Request,
    _client: &Client,
) -> Result<Response, Fault> {
    Err(Fault::Client(ClientFault::MethodNotAllowed))
}
