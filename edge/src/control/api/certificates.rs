//! `/v1/certificates`: chains with their keys go in; names, dates and issuers come out, never a key.

use std::sync::Arc;

use http::StatusCode;
use jet9_config::SiteId;
use jet9_config::site::Domain;
use jet9_tls::{Chain, Store, Validity};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call};
use crate::control::purge::FieldError;
use crate::control::sites::SiteRuntime;
use crate::framework::tls::{Held, PutError, RemoveError};

/// The media type of a chain and its key in one content.
pub(super) const PEM: &str = "application/x-pem-file";

/// Names that are told of in a refusal.
const NEEDED_SHOWN: usize = 5;

/// `GET /v1/certificates`.
pub(super) async fn list(call: Call<'_>) -> Result<Answer, Problem> {
    let listed: Vec<Value> = call.api.certificates.list().iter().map(describe).collect();
    Ok(Answer::ok(json!({ "certificates": listed })))
}

/// `PUT /v1/certificates/{name}`: in force when it is answered.
pub(super) async fn put(call: Call<'_>) -> Result<Answer, Problem> {
    // Names of files have the same grammar as ids.
    let name = SiteId::parse(call.name).map_err(|error| wrong(&error))?;
    let certificates = Arc::clone(&call.api.certificates);
    let pem = call.body.to_vec();
    let putting = tokio::task::spawn_blocking(move || certificates.put(name.as_str(), &pem));
    let put = putting.await.map_err(|error| unavailable(&error))?;
    match put {
        Ok(held) => Ok(Answer::ok(describe(&held))),
        Err(PutError::Unusable(message)) => Err(wrong(&message)),
        Err(error @ PutError::Write(_)) => Err(unavailable(&error)),
    }
}

/// `DELETE /v1/certificates/{name}`: refused while sites answer to names that nothing else covers, unless `force` says that this is meant.
pub(super) async fn remove(call: Call<'_>) -> Result<Answer, Problem> {
    let unknown = || Problem::not_found(format!("no certificate `{}`", call.name.escape_default()));
    let name = SiteId::parse(call.name).map_err(|_| unknown())?;
    let is_forced = call.flag("force")?;
    let certificates = Arc::clone(&call.api.certificates);
    let edge = Arc::clone(&call.api.edge);
    let removing = tokio::task::spawn_blocking(move || {
        certificates.remove(name.as_str(), |chain, left| match is_forced {
            true => None,
            false => needed(&edge.sites.all(), chain, left),
        })
    });
    match removing.await.map_err(|error| unavailable(&error))? {
        Ok(()) => Ok(Answer::nothing()),
        Err(RemoveError::Missing) => Err(unknown()),
        Err(error @ (RemoveError::Default | RemoveError::Needed(_))) => {
            Err(Problem::new(StatusCode::CONFLICT, error.to_string()))
        }
        Err(error @ RemoveError::Write(_)) => Err(unavailable(&error)),
    }
}

/// What would be without a certificate if this one were gone.
fn needed(sites: &[Arc<SiteRuntime>], chain: &Chain, left: &Store) -> Option<String> {
    let is_bare = |domain: &&Domain| {
        let host = match domain {
            Domain::Exact(name) => name.to_string(),
            // Any name below it.
            Domain::Wildcard(name) => format!("any.{name}"),
        };
        chain.names().iter().any(|name| name.covers(&host)) && !left.has(&host)
    };
    let domains = |site: &'_ Arc<SiteRuntime>| {
        let bare = site.site.domains.iter().filter(is_bare);
        let told = |domain: &Domain| format!("{domain} of site `{}`", site.site.id);
        bare.map(told).collect::<Vec<_>>()
    };
    let bare: Vec<String> = sites.iter().flat_map(domains).collect();
    let shown = bare.iter().take(NEEDED_SHOWN).cloned().collect::<Vec<_>>();
    let more = match bare.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = shown.join(", ");
    (!bare.is_empty()).then(|| {
        format!("nothing else covers {shown}{more}: put another certificate first, or remove it by force")
    })
}

fn describe(held: &Held) -> Value {
    let chain = &held.chain;
    let names = chain.names().iter().map(ToString::to_string);
    let addresses = chain.addresses().iter().map(ToString::to_string);
    json!({
        "name": held.name,
        "domains": names.chain(addresses).collect::<Vec<_>>(),
        "issuer": chain.issuer(),
        "not_before": chain.not_before().0,
        "not_after": chain.not_after().0,
        "state": match held.validity {
            Validity::Valid => "valid",
            Validity::NotYet => "not-yet",
            Validity::Expired => "expired",
        },
    })
}

fn wrong(message: &dyn std::fmt::Display) -> Problem {
    Problem::unprocessable(vec![FieldError {
        pointer: String::new(),
        message: message.to_string(),
    }])
}

fn unavailable(error: &dyn std::fmt::Display) -> Problem {
    log::error!("{error}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
