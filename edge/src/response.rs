//! On the way out: is the answer stored, what does the client see, and what if something failed?

pub mod posted;
pub mod store;
pub mod verdict;

pub mod deliver;
pub mod missing;
pub mod multipart;

pub mod by_head;
pub mod fault;

#[cfg(test)]
mod tests;
