//! Until when may a side be sent to, in the fencing class where nothing proves that the other one is out?
//!
//! Kept by [`crate::View`]; fed by linearizable reads of the store and by answers of the side's own guard. A lease counts from the moment in
//! which the question was *sent*: an answer that lingers on its way proves nothing about the moment of its arrival.
//! Invariant 1, the half with time in it: past the lease of the last good reading nothing is sent. The publisher's half is [`wait_ms`].

use jet9_config::Side;

use crate::{Epoch, Instant};

/// By how much two clocks may run apart, in parts of a thousand of the time passed: twice what a clock without discipline drifts.
pub const DRIFT_PER_MILLE: u64 = 1;

/// What the edge holds at the moment; nothing of it survives a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    /// When the last linearizable read that showed the highest epoch was sent.
    read: Option<Instant>,
    guard: Option<Guarded>,
}

/// A side's own guard vouched for it.
#[derive(Clone, Copy, Debug)]
struct Guarded {
    side: Side,
    epoch: Epoch,
    until: Instant,
}

impl Lease {
    /// A read that was sent at this moment showed the highest epoch. Replies may overtake each other.
    pub(crate) fn read(&mut self, sent: Instant) {
        self.read = self.read.max(Some(sent));
    }

    /// The guard of a side said, to a question sent at this moment, that the side is master in this epoch for `ttl_ms` more.
    /// Says whether that is news.
    pub(crate) fn guarded(&mut self, side: Side, epoch: Epoch, sent: Instant, ttl_ms: u64) -> bool {
        let until = Instant(sent.0.saturating_add(ttl_ms));
        let known = (self.guard).filter(|known| (known.side, known.epoch) == (side, epoch));
        if known.is_some_and(|known| known.until >= until) {
            return false;
        }
        self.guard = Some(Guarded { side, epoch, until });
        true
    }

    /// The first moment in which this side must not be sent to; `None`: nothing ever vouched for it.
    pub(crate) fn until(&self, side: Side, epoch: Epoch, lease_ms: u64) -> Option<Instant> {
        let read = self
            .read
            .map(|sent| Instant(sent.0.saturating_add(lease_ms)));
        let guard = (self.guard).filter(|guard| (guard.side, guard.epoch) == (side, epoch));
        read.max(guard.map(|guard| guard.until))
    }
}

/// How long a publisher waits on its own clock, in milliseconds, between the commit of `switching` and that of `serving` for another side,
/// where nothing proves that the old side is out.
///
/// The edge's clock may be slow and the publisher's fast, each by the drift; two milliseconds more, because both count whole ones.
pub const fn wait_ms(lease_ms: u64) -> u64 {
    lease_ms
        .saturating_add(lease_ms.saturating_mul(2 * DRIFT_PER_MILLE).div_ceil(1_000))
        .saturating_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_from_the_latest_sending_whatever_the_order_of_the_answers() {
        let mut lease = Lease::default();
        let until = |lease: &Lease| lease.until(Side::A, Epoch(1), 3_000);
        assert_eq!(until(&lease), None);
        lease.read(Instant(500));
        lease.read(Instant(100));
        assert_eq!(until(&lease), Some(Instant(3_500)));
        lease.read(Instant(u64::MAX));
        assert_eq!(until(&lease), Some(Instant(u64::MAX)));
    }

    #[test]
    fn a_guard_vouches_for_its_own_side_and_epoch_alone() {
        let mut lease = Lease::default();
        lease.guarded(Side::A, Epoch(7), Instant(100), 1_000);
        lease.guarded(Side::A, Epoch(7), Instant(50), 1_000);
        let until = |side, epoch| lease.until(side, Epoch(epoch), 3_000);
        assert_eq!(until(Side::A, 7), Some(Instant(1_100)));
        assert_eq!(until(Side::B, 7), None);
        assert_eq!(until(Side::A, 8), None);
        lease.read(Instant(20));
        assert_eq!(
            lease.until(Side::A, Epoch(7), 3_000),
            Some(Instant(3_020)),
            "the later of the two"
        );
    }

    #[test]
    fn a_publisher_waits_longer_than_the_slowest_clock_lets_an_edge_send() {
        for lease_ms in [100, 3_000, 300_000] {
            // In true microseconds: a lease on a slow clock, a wait on a fast one.
            let sends = (lease_ms + 1) as f64 * 1_000.0 / (1.0 - 0.001);
            let waits = (wait_ms(lease_ms) - 1) as f64 * 1_000.0 / (1.0 + 0.001);
            assert!(waits >= sends - 1_000.0, "{lease_ms}: {waits} < {sends}");
        }
    }
}
