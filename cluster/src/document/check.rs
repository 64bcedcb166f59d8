//! Turns the JSON of a cluster's state into a [`Document`] that cannot be wrong, or names the first field that is.
//!
//! Called by [`Document::parse`] alone; [`crate::highest`] borrows the parts that its own text shares. What decides where a request goes
//! is checked strictly; what only advises (`reason`, `drained` of a side, `prev.ended`) never costs a fleet its document.

use std::net::SocketAddr;

use jet9_config::{ClusterId, Side};

use super::{
    ADDRS_MAX, Document, DocumentError, EDGE_LEASE_MS, EDGE_LEASE_MS_DEFAULT, Ended, Fencing,
    HOLD_MS_DEFAULT, HOLD_MS_MAX, INCARNATION_BYTES_MAX, Phase, REASON_CHARS_MAX, SideFacts,
};
use crate::Epoch;
use crate::json::Node;

pub(super) fn document(root: &Node<'_>) -> Result<Document, DocumentError> {
    version(root)?;
    let cluster = cluster(root)?;
    let epoch = Epoch(root.field("epoch").number(1..=Epoch::MAX.0)?);
    let phase = phase(root)?;
    let sides = root.field("sides").object()?;
    let (a, b) = (side(&sides, Side::A)?, side(&sides, Side::B)?);
    check_master(root, phase, a.as_ref(), b.as_ref())?;
    let prev = root.field("prev");
    Ok(Document {
        cluster,
        epoch,
        phase,
        a: a.unwrap_or_default(),
        b: b.unwrap_or_default(),
        fencing: fencing(&root.field("fencing"))?,
        edge_lease_ms: number_or(
            root.field("edge_lease_ms"),
            EDGE_LEASE_MS,
            EDGE_LEASE_MS_DEFAULT,
        )?,
        hold_ms: number_or(root.field("hold_ms"), (0, HOLD_MS_MAX), HOLD_MS_DEFAULT)?,
        incarnation: incarnation(root)?,
        reason: reason(&root.field("reason")),
        prev_master: prev.field("master").text().ok().and_then(Side::parse),
        prev_ended: prev.field("ended").present().map(|word| ended(&word)),
        data_loss_from_unix_ms: optional_number(prev.field("data_loss_from_unix_ms"))?,
        publisher_seq: optional_number(root.field("publisher").field("seq"))?,
    })
}

/// `v` is 1.
pub(crate) fn version(root: &Node<'_>) -> Result<(), DocumentError> {
    let v = root.field("v");
    match v.number(0..=u64::MAX)? {
        1 => Ok(()),
        other => Err(v.error(format!(
            "version {other} is not known here; this edge reads version 1"
        ))),
    }
}

/// `cluster` is a cluster's id.
pub(crate) fn cluster(root: &Node<'_>) -> Result<ClusterId, DocumentError> {
    let cluster = root.field("cluster");
    ClusterId::parse(cluster.text()?).map_err(|error| cluster.error(error.to_string()))
}

/// `phase` and `master` agree.
pub(crate) fn phase(root: &Node<'_>) -> Result<Phase, DocumentError> {
    let word = root.field("phase");
    let master = root.field("master");
    let phase = match word.text()? {
        "serving" => {
            return Ok(Phase::Serving {
                master: side_name(&master)?,
            });
        }
        "switching" => Phase::Switching,
        "down" => Phase::Down,
        "drained" => Phase::Drained,
        other => {
            return Err(word.error(format!(
                "{other:?} is none of serving, switching, down, drained"
            )));
        }
    };
    match master.present() {
        None => Ok(phase),
        Some(master) => Err(master.error(format!(
            "must be null while the phase is {}",
            phase.as_str()
        ))),
    }
}

fn side_name(node: &Node<'_>) -> Result<Side, DocumentError> {
    match node.text()? {
        "a" => Ok(Side::A),
        "b" => Ok(Side::B),
        other => Err(node.error(format!("{other:?} is neither a nor b"))),
    }
}

/// `incarnation` is a short text, or absent.
pub(crate) fn incarnation(root: &Node<'_>) -> Result<Option<String>, DocumentError> {
    let Some(node) = root.field("incarnation").present() else {
        return Ok(None);
    };
    let text = node.text()?;
    if text.is_empty() || text.len() > INCARNATION_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(node.error(format!(
            "must be 1 to {INCARNATION_BYTES_MAX} bytes without control characters"
        )));
    }
    Ok(Some(text.to_owned()))
}

fn side(sides: &Node<'_>, side: Side) -> Result<Option<SideFacts>, DocumentError> {
    let Some(node) = sides.field(side.as_str()).present() else {
        return Ok(None);
    };
    let node = node.object()?;
    Ok(Some(SideFacts {
        addrs: addrs(&node.field("addrs"))?,
        guard: node
            .field("guard")
            .present()
            .map(|guard| addr(&guard))
            .transpose()?,
        drained: node
            .field("drained")
            .present()
            .is_some_and(|drained| drained.flag() == Ok(true)),
    }))
}

fn addrs(node: &Node<'_>) -> Result<Vec<SocketAddr>, DocumentError> {
    let elements = node.elements()?;
    if elements.len() > ADDRS_MAX {
        return Err(node.error(format!("{} addresses, at most {ADDRS_MAX}", elements.len())));
    }
    elements.iter().map(addr).collect()
}

fn addr(node: &Node<'_>) -> Result<SocketAddr, DocumentError> {
    let text = node.text()?;
    let addr: SocketAddr = text.parse().map_err(|_| {
        node.error(format!(
            "{text:?} is no address with port, such as 192.0.2.10:443 or [2001:db8::1]:443"
        ))
    })?;
    if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
        return Err(node.error(format!("{text} is not an address that can be connected to")));
    }
    Ok(addr)
}

/// The master is among the sides, and can be reached.
fn check_master(
    root: &Node<'_>,
    phase: Phase,
    a: Option<&SideFacts>,
    b: Option<&SideFacts>,
) -> Result<(), DocumentError> {
    let Some(master) = phase.master() else {
        return Ok(());
    };
    let facts = match master {
        Side::A => a,
        Side::B => b,
    };
    let facts = facts.ok_or_else(|| {
        root.field("master")
            .error(format!("{master} is not among the sides"))
    })?;
    if facts.addrs.is_empty() {
        let node = root.field("sides").field(master.as_str()).field("addrs");
        return Err(node.error("is empty, and this side is the master"));
    }
    Ok(())
}

fn fencing(node: &Node<'_>) -> Result<Fencing, DocumentError> {
    match node.text()? {
        "confirmed" => Ok(Fencing::Confirmed),
        "lease" => Ok(Fencing::Lease),
        "none" => Ok(Fencing::None),
        other => Err(node.error(format!("{other:?} is none of confirmed, lease, none"))),
    }
}

fn reason(node: &Node<'_>) -> Option<String> {
    let text = node.text().ok()?;
    Some(text.chars().take(REASON_CHARS_MAX).collect())
}

fn ended(word: &Node<'_>) -> Ended {
    match word.text() {
        Ok("demoted") => Ended::Demoted,
        Ok("fenced") => Ended::Fenced,
        _ => Ended::Unconfirmed,
    }
}

fn number_or(node: Node<'_>, (min, max): (u64, u64), default: u64) -> Result<u64, DocumentError> {
    node.present()
        .map_or(Ok(default), |node| node.number(min..=max))
}

fn optional_number(node: Node<'_>) -> Result<Option<u64>, DocumentError> {
    node.present()
        .map(|node| node.number(0..=Epoch::MAX.0))
        .transpose()
}
