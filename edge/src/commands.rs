//! What `jet9` can be asked to do, one module a command.

pub mod check;
pub mod purge;
pub mod quickstart;
pub mod run;
