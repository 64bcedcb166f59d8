//! A parsed document in which each value remembers its place.
