//! Is it in the store, and may it be used? Hit, stale, or forward, with the reason.
