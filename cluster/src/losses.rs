//! Is content to be validated because the writes that it shows were lost with a master?
//!
//! Part of [`crate::View`]. A document may say that the master before ended with the loss of its last writes (`prev.data_loss_from_unix_ms`):
//! what was stored of it since then shows what is no more. One purge is owed for each epoch that tells of a loss, or for a later
//! document of that epoch that tells of another. It is owed until somebody says that it was done, over restarts and later epochs too.
//! Does not know what is stored, nor when: that is `edge::control::mastership`'s.

use crate::Epoch;

/// What the highest epoch told, and the purge that is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// From when on, by the last document of the highest epoch, in Unix milliseconds.
    pub(crate) told: Option<u64>,
    pub(crate) owed: Option<Loss>,
}

/// The loss of a master's last writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The last epoch that told of one.
    pub epoch: Epoch,
    /// From when on writes are lost, in Unix milliseconds; the earliest, where several epochs told of losses.
    pub from_unix_ms: u64,
}

impl Losses {
    /// A document of this epoch came into force, over the highest until then.
    pub(crate) fn tell(&mut self, highest: Epoch, epoch: Epoch, from_unix_ms: Option<u64>) {
        let known = self.told.filter(|_| epoch == highest);
        self.told = from_unix_ms;
        if let Some(from_unix_ms) = from_unix_ms.filter(|from| known != Some(*from)) {
            let before = self.owed.map_or(u64::MAX, |owed| owed.from_unix_ms);
            self.owed = Some(Loss {
                epoch,
                from_unix_ms: from_unix_ms.min(before),
            });
        }
    }

    /// The purge for this loss was done; another one stays owed.
    pub(crate) fn purged(&mut self, loss: Loss) {
        self.owed.take_if(|owed| *owed == loss);
    }

    /// The cluster begins anew; what is owed stays so.
    pub(crate) fn forget(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs in their order with what they tell; the purge that is owed after each, which is done at once where `done` says so.
    fn check(steps: &[(u64, Option<u64>)], done: bool, expected: &[Option<(u64, u64)>]) {
        let mut losses = Losses::default();
        let mut highest = Epoch(0);
        let mut owed = Vec::new();
        for (epoch, from) in steps {
            losses.tell(highest, Epoch(*epoch), *from);
            highest = Epoch(*epoch);
            owed.push(losses.owed.map(|loss| (loss.epoch.0, loss.from_unix_ms)));
            if let Some(loss) = losses.owed.filter(|_| done) {
                losses.purged(loss);
            }
        }
        assert_eq!(owed, expected, "{steps:?}");
    }

    #[test]
    fn one_purge_is_owed_for_each_epoch_that_tells_of_a_loss() {
        check(&[(1, None), (2, None)], true, &[None, None]);
        check(
            &[(1, Some(17)), (1, Some(17))],
            true,
            &[Some((1, 17)), None],
        );
        let again = [Some((1, 17)), Some((2, 17))];
        check(&[(1, Some(17)), (2, Some(17))], true, &again);
        let later = [Some((1, 17)), Some((1, 16))];
        check(&[(1, Some(17)), (1, Some(16))], true, &later);
        check(&[(1, None), (1, Some(17))], true, &[None, Some((1, 17))]);
    }

    #[test]
    fn what_is_owed_stays_so_until_it_was_done() {
        let first = Some((1, 17));
        check(&[(1, Some(17)), (2, None)], false, &[first, first]);
        let both = [first, Some((3, 17))];
        check(&[(1, Some(17)), (3, Some(20))], false, &both);
    }

    #[test]
    fn a_purge_for_one_loss_settles_no_other() {
        let mut losses = Losses::default();
        losses.tell(Epoch(0), Epoch(1), Some(17));
        let first = losses.owed.expect("it is owed");
        losses.tell(Epoch(1), Epoch(2), Some(30));
        losses.purged(first);
        let owed = losses.owed.expect("the second one");
        assert_eq!((owed.epoch, owed.from_unix_ms), (Epoch(2), 17));
    }
}
