//! Does a master that took no connection take one again?
//!
//! Run each second beside the count of clusters. Routers send visitors elsewhere while too many masters are out of reach, so nobody would find out: a
//! connection is opened to each of them and closed, as to a reserve that has no guard. Which are out of reach is known by `origin::connect`.
//! Invariant 1: only the live master is connected to, and nothing is sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jet9_cluster::{Epoch, Mastership};
use jet9_config::ClusterId;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::parts::Edge;

/// How long a side may take to take a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// So many sides are tried at once, at most.
const AT_ONCE: usize = 64;

/// A live master that took no connection of this node.
struct OutOfReach {
    cluster: ClusterId,
    epoch: Epoch,
    addrs: Vec<SocketAddr>,
}

/// Tries the masters that are out of reach, and notes which are not any more.
pub async fn reach_again(edge: &Arc<Edge>) {
    let mut waiting = out_of_reach(edge).into_iter();
    let mut trying = JoinSet::new();
    loop {
        while trying.len() < AT_ONCE
            && let Some(next) = waiting.next()
        {
            trying.spawn(next.try_again(Arc::clone(edge)));
        }
        if trying.join_next().await.is_none() {
            return;
        }
    }
}

impl OutOfReach {
    async fn try_again(self, edge: Arc<Edge>) {
        for addr in self.addrs {
            if matches!(timeout(CONNECT, TcpStream::connect(addr)).await, Ok(Ok(_))) {
                edge.side_connections.reached(&self.cluster, self.epoch);
                return;
            }
        }
    }
}

fn out_of_reach(edge: &Edge) -> Vec<OutOfReach> {
    let seen = edge.masters.all().into_iter();
    let unreachable = seen.filter_map(|seen| {
        let Mastership::Live { epoch, addrs, .. } = seen.mastership else {
            return None;
        };
        let port = edge.side_connections.unreachable(&seen.cluster, epoch)?;
        let addrs = addrs.into_iter().map(|addr| (addr.ip(), port).into());
        Some(OutOfReach {
            epoch,
            addrs: addrs.collect(),
            cluster: seen.cluster,
        })
    });
    unreachable.collect()
}
