//! Which stored variant a request selects (RFC 9111 §4.1).
//!
//! Called by `storable` (which fields select?) and by `store` at every look-up (the hash of their values). Values are normalised only
//! where the RFC calls it the same: whitespace, several lines of a list, and what a field's own definition makes equal.
//! Invariant: two requests with the same hash would have got the same representation, as far as the origin told us.

use http::{HeaderMap, HeaderName, header};

use super::fields;
use crate::key::KeyHasher;
use crate::reason::Reason;

mod normalise;

/// The most selecting fields that one stored response may have.
pub const SELECTING_FIELDS_MAX: usize = 16;

/// The names of the selecting fields, lower case, sorted, without duplicates.
///
/// # Errors
/// `VaryStar` when a member in any line is `*` or no field name: nothing selects such a response again. `VaryLimit` when there are
/// more than [`SELECTING_FIELDS_MAX`].
pub fn names(response: &HeaderMap) -> Result<Box<[HeaderName]>, Reason> {
    let members = fields::members(response, &header::VARY);
    // `*` is a token, and thus would pass as a name.
    let name = |m: &[u8]| (m != b"*").then(|| HeaderName::from_bytes(m).ok())?;
    let mut names = members
        .map(name)
        .collect::<Option<Vec<_>>>()
        .ok_or(Reason::VaryStar)?;
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names.len() > SELECTING_FIELDS_MAX {
        return Err(Reason::VaryLimit);
    }
    Ok(names.into())
}

/// The fields of a request that may select among variants.
#[derive(Clone, Copy, Debug)]
pub struct SelectingFields<'a> {
    fields: &'a HeaderMap,
}

impl<'a> SelectingFields<'a> {
    /// The selecting fields of a request.
    pub const fn of(fields: &'a HeaderMap) -> Self {
        Self { fields }
    }

    /// The hash of the normalised values of the fields that `vary` names; the same for all requests that select the same variant.
    pub fn hash(&self, vary: &[HeaderName], hasher: &KeyHasher) -> u128 {
        hasher.hash(&self.normalised(vary))
    }

    /// Name, presence and value of each selecting field, each framed by its length: an absent field differs from an empty one, and no
    /// value reads as the beginning of the next field.
    fn normalised(&self, vary: &[HeaderName]) -> Vec<u8> {
        let mut out = Vec::new();
        for name in vary {
            put_framed(&mut out, name.as_str().as_bytes());
            let present = self.fields.contains_key(name);
            out.push(u8::from(present));
            if present {
                put_framed(&mut out, &normalise::value(name, self.fields));
            }
        }
        out
    }
}

fn put_framed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests;
