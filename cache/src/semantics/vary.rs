//! Which stored variant a request selects (RFC 9111 §4.1).

use http::{HeaderMap, HeaderName};

use crate::key::KeyHasher;

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
    pub fn hash(&self, _vary: &[HeaderName], _hasher: &KeyHasher) -> u128 {
        let _ = self.fields;
        unimplemented!()
    }
}
