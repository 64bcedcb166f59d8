//! A directory of documents beside the store: what it shows can stop an edge, and nothing else.
//!
//! Its watch has a thread of its own; what a document there means is `jet9_cluster::View`'s word: a higher epoch than the store's, or another
//! master or phase in the same one, ends all sending until both agree. An operator who puts a file there stops this edge whatever the store says;
//! a file that is removed says nothing any more, and one that cannot be read says what it said before; where that is not known, as after a start, it
//! stops the edge too.
//! Invariant 1: no document from here moves a master, renews a lease, or is written down.

use jet9_cluster::{Instant, Source, View};

use super::Known;
use super::follow::{Follower, Found, found, is_live};
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
            }
            (Shows::Something, Err(error)) => {
                log::error!("{place}: {error}; what it said before stays");
                self.metrics.unreadable.inc();
                after.view.beside_is_unreadable();
            }
        }
        after.note_beside(now);
        match (&before.beside, &after.beside) {
            (_, Some((why, _))) if !was_told(&before, why) => log::error!("{place}: {why}"),
            (Some(_), None) => {
                log::info!("{place}: it no longer says anything else than the store")
            }
            _ => {}
        }
        let stopped = is_live(&before, now) && !is_live(&after, now);
        cluster.set(|known| *known = after);
        if stopped {
            self.end(&id, &before, Planned::No);
        }
        self.note_lease(&id, now);
    }
}

fn was_told(before: &Known, why: &str) -> bool {
    before.beside.as_ref().is_some_and(|(told, _)| told == why)
}

impl Known {
    /// Notes whether the source beside the store stops this cluster, and since when.
    pub(super) fn note_beside(&mut self, now: Instant) {
        let since = self.beside.take().map_or(now, |(_, since)| since);
        self.beside = contradiction(&self.view).map(|why| (why, since));
    }
}

/// What a directory beside the store stops, for the log and the admin API.
fn contradiction(view: &View) -> Option<String> {
    let epoch = view.contradicted()?;
    Some(if view.is_beside_unreadable() {
        "what stands beside the store cannot be read; nothing is sent until it can be, or is removed".to_owned()
    } else {
        format!(
            "/epoch: another source shows something else at {}; nothing is sent until the store shows that epoch",
            epoch.0
        )
    })
}
