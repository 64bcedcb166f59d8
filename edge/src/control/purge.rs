//! Purge calls, from the admin API and in-band, turned into purges of the store.
