//! The answer of a side, as far as it may be trusted.
