//! Whose turn is it to read a part of long content?
//!
//! Taken by the readers of `content` and given back as soon as a part is read, whenever that is sent on: who sends slowly must not keep
//! others from reading. A volume's read queue has one end for everybody, and a fast reader of long content asks for a mebibyte ahead: two
//! hundred of them would fill it, and hits of a few kibibytes would be refused. So parts of long content have a share of it that is no
//! larger than keeps a device busy; the rest, and with it a short wait, is for short reads. Who waits for its next part waits in line; who
//! reads ahead takes what nobody waits for.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Unread;

/// Of the reads that may wait, the part that long content may take. A part of a piece is two reads at most: a quarter of the queue.
const SHARE: usize = 8;
/// How long a reader waits for its turn: some times longer than what is in front of it may take before it is called late.
const TURN_MAX: Duration = Duration::from_secs(5);

/// The turns of one volume.
#[derive(Debug)]
pub(in crate::disk) struct Turns(Arc<Semaphore>);

/// A turn. Whoever waits for what is read in it has it, and what is read, too: it ends with the first that goes.
#[derive(Debug)]
pub(in crate::disk) struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    fn of(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// The same one, for the reads that are begun in it: the last of them ends it.
    pub(in crate::disk) fn of_reads(&self) -> Arc<Self> {
        Arc::new(Self(Arc::clone(&self.0)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let permit = { self.0.lock().take() };
        drop(permit);
    }
}

impl Turns {
    /// Those of a volume with so many reads waiting at most.
    pub(super) fn of(reads_waiting: usize) -> Self {
        Self(Arc::new(Semaphore::new((reads_waiting / SHARE).max(1))))
    }

    /// A turn, after those who came before. Safe to cancel.
    ///
    /// # Errors
    /// When none came in time.
    pub(in crate::disk) async fn wait(&self) -> Result<Turn, Unread> {
        let turn = Arc::clone(&self.0).acquire_owned();
        match tokio::time::timeout(TURN_MAX, turn).await {
            Ok(Ok(permit)) => Ok(Turn::of(permit)),
            Ok(Err(_)) | Err(_) => Err(Unread::Busy),
        }
    }

    /// A turn that nobody waits for.
    pub(in crate::disk) fn spare(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Turn::of(permit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_comes_before_whoever_reads_ahead_and_nobody_waits_for_ever() {
        let turns = Turns::of(16);
        let held = [turns.wait().await.unwrap(), turns.spare().unwrap()];
        assert!(turns.spare().is_none());
        let waiting = turns.wait();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("there is none"),
            () = std::future::ready(()) => {}
        }
        let [first, second] = held;
        drop(first);
        assert!(turns.spare().is_none(), "it is the one's who waits");
        let third = waiting.await.unwrap();
        assert_eq!(turns.wait().await.err(), Some(Unread::Busy));
        drop((second, third));
        assert!(turns.spare().is_some());
    }

    #[test]
    fn a_turn_ends_once_with_the_last_read_or_with_who_waits() {
        let turns = Turns::of(SHARE);
        let turn = turns.spare().unwrap();
        let head = turn.of_reads();
        let body = Arc::clone(&head);
        drop(head);
        assert!(turns.spare().is_none(), "the other is under way");
        drop(body);
        let next = turns.spare().unwrap();
        drop(turn);
        assert!(turns.spare().is_none(), "it ended already");
        let late = next.of_reads();
        drop(next);
        let after = turns.spare().unwrap();
        drop(late);
        assert!(turns.spare().is_none(), "it ended already");
        drop(after);
    }
}
