//! The index of a volume: where is the record of a key, in 16 bytes a record and nothing else?
//!
//! Used by `catalog`, which adds what a slot has no room for. A table of fixed size, read without locks; allowed to forget, never to
//! invent.

mod bucket;
mod moves;
pub mod slot;
pub mod table;
