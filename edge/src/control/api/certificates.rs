//! `/v1/certificates`: chains with their keys go in; names, dates and issuers come out, never a key.

use std::sync::Arc;

use http::StatusCode;
use jet9_config::SiteId;
use jet9_tls::Validity;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call};
use crate::control::purge::FieldError;
use crate::framework::tls::{Held, PutError};

/// The media type of a chain and its key in one content.
pub(super) const PEM: &str = "application/x-pem-file";

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
