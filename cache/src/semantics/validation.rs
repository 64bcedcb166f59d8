//! Conditional requests both ways, and freshening (RFC 9111 §4.3).
//!
//! Called by `edge::request::lookup` (does the client hold it already?), `edge::origin::fetch` (validate ours) and
//! `edge::response::store` (freshen ours by the answer).

use http::{HeaderMap, header};

use super::entity_tag::EntityTag;
use crate::stored::Validators;
use crate::time::Timestamp;

/// The validators among a response's fields (RFC 9110 §8.8). Two lines of one of them say nothing; a malformed one is none.
pub fn validators(fields: &HeaderMap, reference: Timestamp) -> Validators {
    let only = |name| {
        let mut lines = fields.get_all(name).iter();
        lines.next().filter(|_| lines.next().is_none())
    };
    let etag = only(header::ETAG).filter(|value| EntityTag::parse(value.as_bytes()).is_some());
    let last_modified = only(header::LAST_MODIFIED).and_then(|value| {
        let moment = Timestamp::parse_http_date(value.as_bytes(), reference)?;
        Some((value.clone(), moment))
    });
    Validators {
        etag: etag.cloned(),
        last_modified,
    }
}
