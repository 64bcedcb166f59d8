//! The clusters' documents in an etcd: listed, read, and replaced by compare-and-swap.
//!
//! Used by [`super::Masters`] behind the admin API, and by `jet9 cluster --etcd` where no edge runs: the agents on the sides publish so. Members
//! are tried in their order; the first that answers is asked. Knows nothing of what an edge makes of a document.
//! Invariant (I5): the comparison is the store's own, on the revision of the document that the publisher saw; no two commits have one epoch.

use std::io;
use std::time::Duration;

use jet9_cluster::{Document, Epoch};
use jet9_config::ClusterId;
use jet9_config::node::Etcd as Config;

use super::publish::{Publication, PublishError, Waited, epoch_of};
use crate::clock;
use crate::control::etcd::{Etcd, EtcdError, KeyValue, Member, Swapped};

/// Before they are asked once more.
const PAUSE: Duration = Duration::from_millis(100);

/// The documents under `<prefix>/clusters/` of one etcd.
#[derive(Clone, Debug)]
pub struct Store {
    etcd: Etcd,
    patience: Duration,
}

/// A member that answered, and the document that it showed.
struct Shown {
    index: usize,
    member: Member,
    there: KeyValue,
}

impl Store {
    /// Reads the certificates and the password that `config` names; connects to nobody yet. Members are asked once each, and again in turn
    /// until `patience` is over: without a leader all of them are silent for one to two seconds.
    ///
    /// # Errors
    /// When one of the files cannot be read or holds nothing usable; the error names it.
    pub fn open(config: &Config, patience: Duration) -> io::Result<Self> {
        Ok(Self {
            etcd: Etcd::open(config)?,
            patience,
        })
    }

    /// The etcd.
    pub(super) const fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// What the keys of documents begin with.
    pub(super) fn prefix(&self) -> String {
        format!("{}/clusters/", self.etcd.prefix())
    }

    fn key(&self, id: &ClusterId) -> String {
        format!("{}{id}", self.prefix())
    }

    /// Every document that is there, with the name under which it is kept, readable or not, in the order of the names.
    ///
    /// # Errors
    /// When no member answers.
    pub async fn list(&self) -> Result<Vec<(String, Vec<u8>)>, EtcdError> {
        let prefix = self.prefix();
        let (_, _, found) = self.read(&prefix).await?;
        let named = found.into_iter().filter_map(|found| {
            let name = found.key.strip_prefix(&prefix)?.to_owned();
            Some((name, found.value))
        });
        Ok(named.collect())
    }

    /// The document of a cluster as it is there; `None`: there is none.
    ///
    /// # Errors
    /// When no member answers.
    pub async fn published(&self, id: &ClusterId) -> Result<Option<Vec<u8>>, EtcdError> {
        let shown = self.show(id).await?;
        Ok((shown.there.changed_at > 0).then_some(shown.there.value))
    }

    /// Replaces the document of a cluster where `expected` is the epoch that is there (0: none). Where the fencing class demands a wait first
    /// (`jet9_cluster::publishing`), it is waited.
    ///
    /// # Errors
    /// When nothing was written; where no member answered after the attempt, it is not known whether it was.
    pub async fn publish(
        &self,
        id: &ClusterId,
        json: &[u8],
        expected: Epoch,
    ) -> Result<(), PublishError> {
        self.replace(&Publication::of(id, json, expected)?).await
    }

    /// Replaces the document of a cluster if that may be, and nobody else was faster.
    pub(super) async fn replace(&self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let (id, json) = (publication.id(), publication.json());
        let Shown {
            index,
            member,
            there,
        } = self.show(id).await?;
        let epoch = epoch_of(&Document::parse(&there.value));
        let key = self.key(id);
        // Who waits long does not keep a member waiting.
        let mut asked = match publication.may_follow(&there.value).await? {
            Waited::Yes => None,
            Waited::No => Some(member),
        };
        let mut failed = None;
        let mut turns = self.turns(index);
        // A swap whose answer was lost may have been done, or be done yet. Asking for the same one again is harmless: one of them at most is.
        loop {
            let index = turns.member;
            let attempt = async {
                let mut member = match asked.take() {
                    Some(member) => member,
                    None => self.etcd.connect(index).await?,
                };
                member.swap(&key, json, there.changed_at).await
            };
            match (attempt.await, &failed) {
                (Ok(Swapped::Done), _) => return Ok(()),
                (Ok(Swapped::Refused), None) => return Err(PublishError::Overtaken(epoch)),
                (Ok(Swapped::Refused), Some(_)) => return self.was_it_ours(id, json, epoch).await,
                (Err(error), _) if turns.are_over(&error) => return Err(error.into()),
                (Err(error), _) => failed = Some(error),
            }
            turns.next().await;
        }
    }

    /// After an answer was lost and the next attempt refused: the lost one may have been done.
    async fn was_it_ours(
        &self,
        id: &ClusterId,
        json: &[u8],
        epoch: Epoch,
    ) -> Result<(), PublishError> {
        if self.show(id).await?.there.value == json {
            return Ok(());
        }
        Err(PublishError::Overtaken(epoch))
    }

    async fn show(&self, id: &ClusterId) -> Result<Shown, EtcdError> {
        let key = self.key(id);
        let (index, member, found) = self.read(&key).await?;
        // Others may begin with the same letters.
        let there = found.into_iter().find(|found| found.key == key);
        Ok(Shown {
            index,
            member,
            there: there.unwrap_or_default(),
        })
    }

    /// What is under a prefix, from the first member that answers.
    async fn read(&self, prefix: &str) -> Result<(usize, Member, Vec<KeyValue>), EtcdError> {
        let mut turns = self.turns(0);
        loop {
            let index = turns.member;
            let read = async {
                let mut member = self.etcd.connect(index).await?;
                let range = member.range(prefix, 0).await?;
                Ok((index, member, range.found))
            };
            match read.await {
                Ok(read) => return Ok(read),
                Err(error) if turns.are_over(&error) => return Err(error),
                Err(_) => turns.next().await,
            }
        }
    }

    fn turns(&self, first: usize) -> Turns {
        Turns {
            first,
            member: first,
            members: self.etcd.members(),
            began: clock::monotonic(),
            patience: self.patience,
        }
    }
}

/// Whose turn it is.
struct Turns {
    first: usize,
    member: usize,
    members: usize,
    began: std::time::Instant,
    patience: Duration,
}

impl Turns {
    /// Whether nobody else is to be asked after this error. Who refuses is not asked again: all of them would.
    fn are_over(&self, error: &EtcdError) -> bool {
        let refused =
            matches!(error, EtcdError::Refused { status, .. } if status.is_client_error());
        let were_all_asked = self.after() == self.first;
        refused || were_all_asked && self.began.elapsed() >= self.patience
    }

    async fn next(&mut self) {
        self.member = self.after();
        if self.member == self.first {
            tokio::time::sleep(PAUSE).await;
        }
    }

    const fn after(&self) -> usize {
        (self.member + 1) % self.members
    }
}
