//! Feeds published cluster state into the views, and tells who waits.

use jet9_cluster::Mastership;
use jet9_config::ClusterId;

/// The live masters of all clusters.
#[derive(Debug)]
pub struct Masters {}

impl Masters {
    /// Who is the live master now. Read at each attempt; never kept.
    pub fn current(&self, _cluster: &ClusterId) -> Mastership {
        unimplemented!()
    }

    /// Wakes whenever what [`Self::current`] says of this cluster may have changed; the value counts changes and has no meaning.
    pub fn changed(&self, _cluster: &ClusterId) -> tokio::sync::watch::Receiver<u64> {
        unimplemented!()
    }
}
