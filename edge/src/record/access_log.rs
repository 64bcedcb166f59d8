//! The access log: one line per exchange, from [`crate::exchange::Exchange`] alone.
