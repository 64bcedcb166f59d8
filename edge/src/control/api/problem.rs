//! What went wrong with a call, as RFC 9457 says it: `application/problem+json`, with a JSON pointer for each value that is wrong.

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::control::purge::FieldError;

/// A call that was not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
    fields: Vec<(HeaderName, HeaderValue)>,
    is_crowded: bool,
}

impl Problem {
    /// A problem with the call as a whole.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            fields: Vec::new(),
            is_crowded: false,
        }
    }

    /// Values of the body that are wrong.
    pub(super) fn unprocessable(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "nothing was done");
        problem.errors = errors;
        problem
    }

    /// Values of the body that contradict what others have.
    pub(super) fn conflict(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(StatusCode::CONFLICT, "nothing was done");
        problem.errors = errors;
        problem
    }

    /// What is asked for is not there.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// There is no room for it now, and may be in a second.
    pub(super) fn crowded(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(status, detail).with(RETRY_AFTER, 1.into());
        problem.is_crowded = true;
        problem
    }

    /// With a field of the response.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it was refused for want of room, whatever it was.
    pub(super) const fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    pub(super) fn fields(&self) -> HeaderMap {
        self.fields.iter().cloned().collect()
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            let one = |e: &FieldError| json!({ "pointer": e.pointer, "detail": e.message });
            body["errors"] = self.errors.iter().map(one).collect();
        }
        body
    }
}
