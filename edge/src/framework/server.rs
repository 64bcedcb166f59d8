//! The composition root: a checked node file becomes a running process.

use std::path::Path;

use jet9_config::Problems;
use jet9_config::node::Node;

/// Why the node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Addresses or certificates of the node file cannot be used: all of them.
    #[error(transparent)]
    Node(#[from] Problems),
}

/// Runs the node until a signal ends it. `file` is the node file that `node` was read from.
///
/// # Errors
/// Why it did not start.
pub fn run(_file: &Path, _node: Node) -> Result<(), StartError> {
    unimplemented!()
}
