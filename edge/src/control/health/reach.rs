//! Does a master that took no connection take none indeed, or one again?
//!
//! Run each second beside the count of clusters. A site may go to a port where nobody listens, or a side have an address that is dead among
//! others, and neither makes a master one that is out of reach: its addresses are tried, at the ports of the cluster's document and at the one
//! that was refused. And routers send visitors elsewhere while too many masters are out of reach, so nobody else would find them again. Who is to be
//! tried is known by `origin::connect`; a connection is opened and closed, as to a reserve that has no guard.
//! Invariant 1: only the live master is connected to, and nothing is sent.

use std::collections::BTreeSet;
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

/// A live master that may take no connection of this node.
struct Suspect {
    cluster: ClusterId,
    epoch: Epoch,
    addrs: Vec<SocketAddr>,
}

/// Tries the masters that may be out of reach, and notes which are.
pub async fn try_suspects(edge: &Arc<Edge>) {
    let mut waiting = suspects(edge).into_iter();
    let mut trying = JoinSet::new();
    loop {
        while trying.len() < AT_ONCE
            && let Some(next) = waiting.next()
        {
            trying.spawn(next.try_it(Arc::clone(edge)));
        }
        if trying.join_next().await.is_none() {
            return;
        }
    }
}

impl Suspect {
    async fn try_it(self, edge: Arc<Edge>) {
        let mut taken = false;
        for addr in &self.addrs {
            taken = matches!(timeout(CONNECT, TcpStream::connect(addr)).await, Ok(Ok(_)));
            if taken {
                break;
            }
        }
        let connections = &edge.side_connections;
        connections.tried(&self.cluster, self.epoch, taken);
    }
}

fn suspects(edge: &Edge) -> Vec<Suspect> {
    let seen = edge.masters.all().into_iter();
    let suspects = seen.filter_map(|seen| {
        let Mastership::Live { epoch, addrs, .. } = seen.mastership else {
            return None;
        };
        let port = edge.side_connections.suspect(&seen.cluster, epoch)?;
        let refused = addrs.iter().map(|addr| (addr.ip(), port).into());
        let addrs: BTreeSet<_> = refused.chain(addrs.iter().copied()).collect();
        Some(Suspect {
            epoch,
            addrs: addrs.into_iter().collect(),
            cluster: seen.cluster,
        })
    });
    suspects.collect()
}

#[cfg(test)]
mod tests {
    use jet9_config::Side;
    use pingora_core::connectors::TransportConnector;
    use tokio::net::TcpListener;

    use super::*;
    use crate::origin::master::Route;
    use crate::origin::testing::{self, TestNode, nowhere};

    /// Whether side a, master at this address, is out of reach after three connections to another one, where nobody listens.
    async fn check(node: &TestNode, epoch: u64, master: SocketAddr, expected: bool) {
        let state = r#""phase":"serving","master":"a""#;
        node.publish(epoch, state, master, master).await;
        let (connections, gone) = (&node.edge.side_connections, nowhere());
        let route = Route {
            cluster: ClusterId::parse("c-1").unwrap(),
            side: Side::A,
            epoch: Epoch(epoch),
            addrs: vec![gone],
            is_guarded: false,
        };
        let (peer, _) = connections.peer(&route, gone, &testing::origin());
        for _ in 0..3 {
            let opened = TransportConnector::new(None).new_stream(&peer).await;
            opened.unwrap_err();
        }
        try_suspects(&node.edge).await;
        let told = connections.is_unreachable(&route.cluster, route.epoch);
        assert_eq!(told, expected, "{master}");
    }

    #[tokio::test]
    async fn a_site_with_a_port_where_nobody_listens_puts_no_master_out_of_reach() {
        let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = TestNode::new(|_| {});
        check(&node, 1, listening.local_addr().unwrap(), false).await;
        check(&node, 2, nowhere(), true).await;
    }
}
