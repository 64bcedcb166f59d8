//! On the way in: who asks, for which site, is it well-formed, under which key, and is it in the store?

pub mod client;
pub mod guard;
pub mod key;
pub mod lookup;
pub mod site;
