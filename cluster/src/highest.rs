//! What must outlive the process: the highest epoch that was adopted, and what it said.
//!
//! Written to disk by `edge::control::mastership` *before* a change is acted on, and read back at start. With the epoch alone, a second
//! document of that epoch with another master would pass after a restart: so what it said is kept with it, and a conflict too.
//! Invariant 1, over restarts: a view made by [`crate::View::resumed`] refuses everything that the view that was recorded would refuse.

use jet9_config::ClusterId;
use serde_json::json;

use crate::Epoch;
use crate::document::{self, DocumentError, Phase};
use crate::json::{Json, Node};
use crate::losses::{Loss, Losses};

/// The most bytes of one record; a real one has some 150.
pub const RECORD_BYTES_MAX: usize = 4_096;

/// The highest epoch of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highest {
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch; 1 or more.
    pub epoch: Epoch,
    /// The life of the cluster that the epoch belongs to, where it has a name.
    pub incarnation: Option<String>,
    /// What the epoch said; `None`: only its number is known.
    pub phase: Option<Phase>,
    /// Whether two documents of this epoch disagreed.
    pub conflict: bool,
    /// The writes that were lost with a master, and whether a purge is still owed for them.
    pub losses: Losses,
}

impl Highest {
    /// The record as one line of JSON.
    pub fn to_json(&self) -> String {
        json!({
            "v": 1,
            "cluster": self.cluster.as_str(),
            "epoch": self.epoch.0,
            "incarnation": self.incarnation,
            "phase": self.phase.map(Phase::as_str),
            "master": self.phase.and_then(Phase::master).map(jet9_config::Side::as_str),
            "conflict": self.conflict,
            "data_loss_from_unix_ms": self.losses.told,
            "purge_owed": self.losses.owed.map(|owed| json!({
                "epoch": owed.epoch.0,
                "data_loss_from_unix_ms": owed.from_unix_ms,
            })),
        })
        .to_string()
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// Names the first field that is wrong. The caller must not take the cluster as one never seen: what is lost here is what keeps an
    /// old master out.
    pub fn parse(json: &[u8]) -> Result<Self, DocumentError> {
        let json = Json::parse(json, RECORD_BYTES_MAX)?;
        let root = Node::root(&json);
        document::version(&root)?;
        Ok(Self {
            cluster: document::cluster(&root)?,
            epoch: Epoch(root.field("epoch").number(1..=Epoch::MAX.0)?),
            incarnation: document::incarnation(&root)?,
            phase: root
                .field("phase")
                .present()
                .map(|_| document::phase(&root))
                .transpose()?,
            conflict: root.field("conflict").flag()?,
            losses: losses(&root)?,
        })
    }
}

/// Absent in records of versions that did not look at losses: none was told, none is owed.
fn losses(root: &Node<'_>) -> Result<Losses, DocumentError> {
    const FROM: &str = "data_loss_from_unix_ms";
    let from = |node: Node<'_>| node.number(0..=Epoch::MAX.0);
    let owed = root.field("purge_owed").present().map(|owed| {
        Ok(Loss {
            epoch: Epoch(owed.field("epoch").number(1..=Epoch::MAX.0)?),
            from_unix_ms: from(owed.field(FROM))?,
        })
    });
    Ok(Losses {
        told: root.field(FROM).present().map(from).transpose()?,
        owed: owed.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use jet9_config::Side;

    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let phases = [
            None,
            Some(Phase::Serving { master: Side::A }),
            Some(Phase::Serving { master: Side::B }),
            Some(Phase::Switching),
            Some(Phase::Down),
            Some(Phase::Drained),
        ];
        for phase in phases {
            for (incarnation, conflict) in [(None, false), (Some("\"life\" 2".to_owned()), true)] {
                let cluster = ClusterId::parse("c-1").expect("an id");
                let record = Highest {
                    cluster,
                    epoch: Epoch::MAX,
                    incarnation,
                    phase,
                    conflict,
                    losses: Losses {
                        told: conflict.then_some(18),
                        owed: conflict.then_some(Loss {
                            epoch: Epoch(6),
                            from_unix_ms: 17,
                        }),
                    },
                };
                assert_eq!(Highest::parse(record.to_json().as_bytes()), Ok(record));
            }
        }
    }

    #[test]
    fn a_record_of_before_losses_were_looked_at_tells_of_none() {
        let json = r#"{"v":1,"cluster":"c-1","epoch":7,"conflict":false}"#;
        let record = Highest::parse(json.as_bytes()).expect("it is readable");
        assert_eq!(record.losses, Losses::default());
    }

    #[test]
    fn a_damaged_record_is_an_error_and_never_an_unseen_cluster() {
        let record = Highest {
            cluster: ClusterId::parse("c-1").expect("an id"),
            epoch: Epoch(7),
            incarnation: None,
            phase: Some(Phase::Switching),
            conflict: false,
            losses: Losses::default(),
        };
        let json = record.to_json();
        for cut in 0..json.len() {
            assert!(Highest::parse(&json.as_bytes()[..cut]).is_err(), "{cut}");
        }
        for (from, to, pointer) in [
            ("\"epoch\":7", "\"epoch\":0", "/epoch"),
            ("\"v\":1", "\"v\":2", "/v"),
            (
                "\"purge_owed\":null",
                "\"purge_owed\":{\"epoch\":7}",
                "/purge_owed/data_loss_from_unix_ms",
            ),
            ("\"conflict\":false", "\"conflict\":null", "/conflict"),
            (
                "\"phase\":\"switching\"",
                "\"phase\":\"serving\"",
                "/master",
            ),
        ] {
            let error = Highest::parse(json.replace(from, to).as_bytes()).expect_err("refused");
            assert_eq!(error.pointer, pointer);
        }
    }
}
