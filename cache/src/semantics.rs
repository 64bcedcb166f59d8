//! RFC 9111 and its neighbours as pure functions: messages, rules and `now` in, a decision with its reason out.
//!
//! Read in the order of a request's life. No clock, no I/O, no knowledge of sites: the site's choices arrive as [`rules::Rules`].

pub mod rules;

pub mod cookies;
pub mod freshness;
pub mod invalidation;
pub mod range;
pub mod request;
pub mod status;
pub mod storable;
pub mod validation;
pub mod vary;

pub mod directives;
pub mod entity_tag;
pub mod fields;
pub(crate) mod structured;
pub mod tags;

pub(crate) mod litespeed;

#[cfg(test)]
mod testing;
