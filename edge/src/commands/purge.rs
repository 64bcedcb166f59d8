//! `purge` — jet9 purge: through the admin API.
