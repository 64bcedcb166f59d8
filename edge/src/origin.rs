//! There and back again: which side is live, what it is sent, what it answered.

pub mod breakers;
pub mod connect;
pub mod guard;
pub mod hold;
pub mod master;

pub mod fetch;
pub mod forward;
pub mod receive;
pub mod wire;

#[cfg(test)]
pub(crate) mod testing;
