//! There and back again: which side is live, what it is sent, what it answered.

pub mod connect;
pub mod fetch;
pub mod forward;
pub mod master;
pub mod receive;
