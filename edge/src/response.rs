//! On the way out: is the answer stored, what does the client see, and what if something failed?

pub mod deliver;
pub mod fault;
pub mod posted;
pub mod store;
