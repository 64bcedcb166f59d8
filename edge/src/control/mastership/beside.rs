//! A directory of documents beside the store: what it shows can stop an edge, and nothing else.
//!
//! Its watch has a thread of its own; what a document there means is `jet9_cluster::View`'s word: a higher epoch than the store's, or another
//! master or phase in the same one, ends all sending until both agree. An operator who puts a file there stops this edge whatever the store says;
//! a file that is removed says nothing any more, and one that cannot be read says what it said before.
//! Invariant 1: no document from here moves a master, renews a lease, or is written down.

use jet9_cluster::Source;

use super::Known;
use super::follow::{Follower, Found, found, is_live, refusal};
use crate::clock;
use crate::control::watch::{Change, Content};
use crate::origin::connect::Planned;

/// What a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    Something,
    /// It was removed.
    Nothing,
}

impl Follower {
    /// Notes the changes of a directory beside the store, which can stop what goes to a cluster and nothing else.
    pub(super) fn apply_beside(&mut self, changes: Vec<Change>) {
        for change in changes {
            let shows = match change.content {
                Content::Gone => Shows::Nothing,
                Content::Bytes(_) | Content::Unreadable(_) => Shows::Something,
            };
            if let Some(found) = found(change) {
                self.note_beside(found, shows);
            }
        }
    }

    fn note_beside(&mut self, found: Found, shows: Shows) {
        let now = clock::boottime();
        let Found { id, place, .. } = found;
        let cluster = self.clusters.of(&id);
        let before = cluster.known.load_full();
        let mut after = Known::clone(&before);
        match (shows, found.document) {
            (Shows::Nothing, _) => after.view.beside_is_gone(),
            (Shows::Something, Ok(document)) => {
                let change = after.view.observe(document, Source::Beside, now);
                self.metrics.observed(&change);
                if let Some(why) = refusal(&change, &after.view) {
                    log::error!("{place}: {why}");
                    after.refused = Some((why, now));
                }
            }
            (Shows::Something, Err(error)) => {
                log::error!("{place}: {error}; what it said before stays");
                self.metrics.unreadable.inc();
                return;
            }
        }
        let agrees = after.view.contradicted().is_none();
        if agrees && before.view.contradicted().is_some() {
            log::info!("{place}: it no longer says anything else than the store");
            after.refused = None;
        }
        let stopped = is_live(&before, now) && !is_live(&after, now);
        cluster.set(|known| *known = after);
        if stopped {
            self.end(&id, &before, Planned::No);
        }
        self.note_lease(&id, now);
    }
}
