//! The store's counters, named as in docs/configuration.md.
