//! Documents of cluster state, as a publisher would write them (`docs/configuration.md`, section 6).

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::wait::unix_ms;

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

/// The state of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) id: &'static str,
    pub(crate) epoch: u64,
    /// `None`: switching.
    pub(crate) master: Option<Side>,
    pub(crate) a: SocketAddr,
    pub(crate) b: SocketAddr,
    pub(crate) fencing: &'static str,
    /// How the master before ended.
    pub(crate) ended: &'static str,
    /// Whether the sides have guards, which answer at their own addresses.
    pub(crate) is_guarded: bool,
}

impl Side {
    /// The word of the documents and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl Cluster {
    /// Epoch 1, side a serves. Nobody listens at side b.
    pub(crate) fn of_one(id: &'static str, a: SocketAddr) -> Self {
        Self::of_two(id, a, NOBODY.parse().expect("an address"))
    }

    /// Epoch 1, side a serves.
    pub(crate) const fn of_two(id: &'static str, a: SocketAddr, b: SocketAddr) -> Self {
        Self {
            id,
            epoch: 1,
            master: Some(Side::A),
            a,
            b,
            fencing: "confirmed",
            ended: "demoted",
            is_guarded: false,
        }
    }

    /// The same with guards in the sides.
    #[must_use]
    pub(crate) fn guarded(&self) -> Self {
        Self {
            is_guarded: true,
            ..self.clone()
        }
    }

    /// The next epoch: no master for the moment.
    #[must_use]
    pub(crate) fn switching(&self) -> Self {
        self.next(None)
    }

    /// The next epoch: `master` serves.
    #[must_use]
    pub(crate) fn serving(&self, master: Side) -> Self {
        self.next(Some(master))
    }

    fn next(&self, master: Option<Side>) -> Self {
        Self {
            epoch: self.epoch + 1,
            master,
            ..self.clone()
        }
    }

    /// The same change after the master before ended in another way than by stepping down.
    #[must_use]
    pub(crate) fn after(&self, ended: &'static str) -> Self {
        Self {
            ended,
            ..self.clone()
        }
    }

    /// The document.
    pub(crate) fn document(&self) -> Value {
        let guard = |address: SocketAddr| self.is_guarded.then(|| address.to_string());
        json!({
            "v": 1, "cluster": self.id, "epoch": self.epoch,
            "phase": if self.master.is_some() { "serving" } else { "switching" },
            "master": self.master.map(Side::as_str),
            "sides": {
                "a": { "addrs": [self.a.to_string()], "guard": guard(self.a) },
                "b": { "addrs": [self.b.to_string()], "guard": guard(self.b) },
            },
            "fencing": self.fencing, "edge_lease_ms": 3000, "hold_ms": 10000,
            "since_unix_ms": unix_ms(), "reason": if self.ended == "demoted" { "standby" } else { "crash" },
            "prev": { "epoch": self.epoch.saturating_sub(1), "ended": self.ended },
            "publisher": { "id": "tests", "seq": self.epoch },
        })
    }
}

/// The discard service, which no machine runs: connections are refused.
pub(crate) const NOBODY: &str = "127.0.0.1:9";
