//! Counters per exchange, from [`crate::exchange::Exchange`] alone.
