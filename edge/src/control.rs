//! The other plane: sites, mastership, purge, health and the admin API. Never touches a request.

pub mod api;
pub(crate) mod durable;
pub mod etcd;
pub mod events;
pub mod explain;
pub mod health;
pub mod mastership;
pub mod purge;
pub mod reserves;
pub mod sites;
pub mod tokens;
pub mod watch;
