//! Who calls, and may that one do this?
//!
//! Asked by `api::server` before anything of a call is looked at, and again with the right that its route needs. Over the Unix socket the uid
//! of the peer's process is what counts, over TCP the bearer token. Says why it refuses, and nothing of what there is.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::problem::Problem;
use crate::control::tokens::{Principal, Right, Tokens};

/// Who calls, as the transport knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over the Unix socket, with the uid of its process where the system told it.
    Local(Option<u32>),
    /// Over TCP.
    Remote,
}

/// Who calls. Over the Unix socket a token is looked at too: whoever sends one wants no more than its scopes, so one that is withdrawn opens
/// nothing, not even to root.
pub(super) fn authenticate(
    tokens: &Tokens,
    peer: Peer,
    fields: &HeaderMap,
) -> Result<Principal, Problem> {
    if let Some(principal) = tokens.principal(fields) {
        return Ok(principal);
    }
    match peer {
        Peer::Local(_) if Tokens::is_signed(fields) => Err(unknown("there is no such token")),
        Peer::Local(Some(uid)) if uid == 0 || uid == own_uid() => {
            Ok(Principal::admin(format!("uid:{uid}")))
        }
        Peer::Local(_) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the socket is for root and for the user that the edge runs as; others need a token",
        )),
        Peer::Remote => Err(unknown(
            "send `Authorization: Bearer` with the token of <data_dir>/admin.token, or one that was made with it",
        )),
    }
}

fn unknown(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"jet9\"");
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, challenge)
}

/// Refuses who has no scope for it.
pub(super) fn require(principal: &Principal, right: Right<'_>) -> Result<(), Problem> {
    if principal.may(right) {
        return Ok(());
    }
    let detail = format!(
        "{} has no scope for this: it needs {right}",
        principal.name()
    );
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
