//! The request that a side sees: composed by us, field by field.
