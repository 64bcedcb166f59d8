//! Is the reserve of each cluster there, before it is needed?
//!
//! A thread of its own asks the sides that are not master now and then, and tells of what has changed: a reserve that is broken is found before a
//! failover finds it. Where a side's guard is named, it is asked, and must refuse (`docs/in-band-guard.md`); elsewhere a connection is opened
//! and closed. The same thread asks guards of masters whose lease nobody renews on the way. Visitors' requests never come here.
//! Invariant 1: no request for a site is sent to a side that is not master; a guard's address is no site's.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jet9_cluster::document::Phase;
use jet9_cluster::{Document, Epoch};
use jet9_config::limits::Limits;
use jet9_config::{ClusterId, Side};
use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Opts, Registry};
use tokio::task::{self, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::control::mastership::{Masters, Vouching};

mod ask;

use ask::Guard;

/// How often it is looked for leases that are to be renewed.
const LOOK: Duration = Duration::from_millis(200);

/// So many sides are asked at once, at most.
const AT_ONCE: usize = 64;

/// … and of masters' guards that did not answer when they were asked last, so many.
const SILENT_AT_ONCE: usize = 16;

/// So often in a row a reserve must not answer until it counts as gone.
const MISSES: u32 = 2;

/// What became of asking a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reserve {
    /// It is there; where it has a guard, that refuses what is not for it.
    Ready,
    /// Nothing answers at its addresses, or at its guard's.
    Unreachable,
    /// Its guard lets requests pass that are for the master: an alarm.
    Accepting,
    /// What answers at its guard's address is no guard.
    Unguarded,
}

impl Reserve {
    const ALL: [Self; 4] = [
        Self::Ready,
        Self::Unreachable,
        Self::Accepting,
        Self::Unguarded,
    ];

    /// The word for the API, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unreachable => "unreachable",
            Self::Accepting => "accepting",
            Self::Unguarded => "unguarded",
        }
    }
}

/// What is known of the reserves.
#[derive(Debug, Default)]
pub struct Reserves {
    known: Mutex<HashMap<ClusterId, Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    side: Side,
    /// `None` until it was asked often enough to say.
    state: Option<Reserve>,
    misses: u32,
}

/// A reserve to be asked.
#[derive(Clone, Debug)]
struct Asked {
    cluster: ClusterId,
    side: Side,
    /// The epoch in which the other side is master.
    epoch: Epoch,
    addrs: Vec<SocketAddr>,
    guard: Option<SocketAddr>,
}

impl Reserves {
    /// Asks the reserves of these masters' clusters from now on, each `limits.probe_interval`, for as long as the masters live.
    ///
    /// # Errors
    /// When a thread cannot be had, or a metric's name is taken.
    pub fn watch(
        masters: &Arc<Masters>,
        limits: &Limits,
        registry: &Registry,
    ) -> io::Result<Arc<Self>> {
        let states = states(registry).map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let reserves = Arc::new(Self::default());
        let (known, watched) = (Arc::clone(&reserves), Arc::downgrade(masters));
        let (every, limits) = (limits.probe_interval, limits.clone());
        let running = async move {
            tokio::join!(
                vouch(&watched, &limits),
                known.round_by_round(&watched, every, &limits, &states)
            )
        };
        std::thread::Builder::new()
            .name("jet9-reserves".into())
            .spawn(move || runtime.block_on(running))?;
        Ok(reserves)
    }

    /// What is known of a cluster's reserve; `None`: nothing yet, or it has none now.
    pub fn of(&self, cluster: &ClusterId) -> Option<Reserve> {
        self.known.lock().get(cluster)?.state
    }

    async fn round_by_round(
        &self,
        masters: &Weak<Masters>,
        every: Duration,
        limits: &Limits,
        states: &IntGaugeVec,
    ) {
        let mut rounds = interval(every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let Some(asked) = masters.upgrade().map(|masters| to_ask(&masters)) else {
                return;
            };
            self.keep_only(&asked);
            self.round(asked, limits).await;
            for state in Reserve::ALL {
                let count = i64::try_from(self.count(state)).unwrap_or(i64::MAX);
                states.with_label_values(&[state.as_str()]).set(count);
            }
        }
    }

    async fn round(&self, asked: Vec<Asked>, limits: &Limits) {
        let mut waiting = asked.into_iter();
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < AT_ONCE
                && let Some(asked) = waiting.next()
            {
                let limits = limits.clone();
                asking.spawn(async move {
                    let found = look(&asked, &limits).await;
                    (asked, found)
                });
            }
            match asking.join_next().await {
                Some(Ok((asked, found))) => self.note(&asked, found),
                Some(Err(_)) => {} // a probe that panicked says nothing
                None => return,
            }
        }
    }

    /// Forgets the clusters that have no reserve now.
    fn keep_only(&self, asked: &[Asked]) {
        let asked: HashSet<_> = asked.iter().map(|asked| &asked.cluster).collect();
        let mut known = self.known.lock();
        known.retain(|cluster, _| asked.contains(cluster));
    }

    fn note(&self, asked: &Asked, found: Reserve) {
        let mut all = self.known.lock();
        let fresh = Known {
            side: asked.side,
            state: None,
            misses: 0,
        };
        let known = all.entry(asked.cluster.clone()).or_insert(fresh);
        if known.side != asked.side {
            *known = fresh;
        }
        known.misses = if found == Reserve::Unreachable {
            known.misses + 1
        } else {
            0
        };
        if (1..MISSES).contains(&known.misses) || known.state == Some(found) {
            return;
        }
        tell(asked, known.state, found);
        known.state = Some(found);
    }

    fn count(&self, state: Reserve) -> usize {
        let known = self.known.lock();
        let those = known.values().filter(|known| known.state == Some(state));
        those.count()
    }
}

fn states(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let states = IntGaugeVec::new(
        Opts::new(
            "jet9_cluster_reserves",
            "Sides that are not master, by what asking them found.",
        ),
        &["state"],
    )?;
    registry.register(Box::new(states.clone()))?;
    Ok(states)
}

fn tell(asked: &Asked, before: Option<Reserve>, now: Reserve) {
    let (cluster, side) = (&asked.cluster, asked.side);
    match (before, now) {
        // As it should be from the start: not worth a line for each cluster.
        (None, Reserve::Ready) => {}
        (Some(_), Reserve::Ready) => {
            log::info!("cluster {cluster}: the reserve, side {side}, is there again");
        }
        (_, Reserve::Unreachable) => {
            log::error!("cluster {cluster}: the reserve, side {side}, cannot be reached");
        }
        (_, Reserve::Accepting) => {
            log::error!(
                "cluster {cluster}: the guard of side {side} would take what is for the master"
            );
        }
        (_, Reserve::Unguarded) => {
            log::error!("cluster {cluster}: no guard answers at the address of side {side}'s");
        }
    }
}

/// The reserves of all clusters that are served.
fn to_ask(masters: &Masters) -> Vec<Asked> {
    let seen = masters.all().into_iter();
    seen.filter_map(|seen| reserve(&seen.document?)).collect()
}

fn reserve(document: &Document) -> Option<Asked> {
    let Phase::Serving { master } = document.phase else {
        return None;
    };
    let side = match master {
        Side::A => Side::B,
        Side::B => Side::A,
    };
    let facts = document.side(side);
    (!facts.drained).then(|| Asked {
        cluster: document.cluster.clone(),
        side,
        epoch: document.epoch,
        addrs: facts.addrs.clone(),
        guard: facts.guard,
    })
}

async fn look(asked: &Asked, limits: &Limits) -> Reserve {
    let Some(addr) = asked.guard else {
        return match ask::connects(&asked.addrs).await {
            true => Reserve::Ready,
            false => Reserve::Unreachable,
        };
    };
    let guard = Guard {
        addr,
        cluster: &asked.cluster,
        epoch: asked.epoch,
    };
    match guard.ask(limits).await {
        Err(_) => Reserve::Unreachable,
        Ok(answer) if answer.said.refusal(answer.status, asked.epoch).is_some() => Reserve::Ready,
        Ok(answer) if answer.status.is_success() => Reserve::Accepting,
        Ok(_) => Reserve::Unguarded,
    }
}

/// Asks the guards of masters whose lease nobody else renews.
async fn vouch(masters: &Weak<Masters>, limits: &Limits) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut queue = Queue::default();
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let Some(masters) = masters.upgrade() else { return };
                for vouching in queue.next(masters.to_vouch(), |vouching| &vouching.cluster) {
                    let cluster = vouching.cluster.clone();
                    let task = asking.spawn(renew(masters.clone(), vouching, limits.clone()));
                    queue.under_way.insert(task.id(), cluster);
                }
            }
            Some(done) = asking.join_next_with_id() => match done {
                Ok((task, answered)) => queue.done(task, answered),
                Err(error) => queue.done(error.id(), false),
            }
        }
    }
}

/// Whose guard is asked next. Guards that do not answer wait for their deadline each time; they never take all places from those that do.
#[derive(Debug, Default)]
struct Queue {
    under_way: HashMap<task::Id, ClusterId>,
    /// Whose guard did not answer when it was asked last, and in which turn that was found.
    silent: HashMap<ClusterId, u64>,
    turn: u64,
}

impl Queue {
    /// Those of `due` that are to be asked now; of those that did not answer, whose turn was longest ago.
    fn next<T>(&mut self, mut due: Vec<T>, cluster: impl Fn(&T) -> &ClusterId) -> Vec<T> {
        let wanted: HashSet<&ClusterId> = due.iter().map(&cluster).collect();
        self.silent.retain(|silent, _| wanted.contains(silent));
        due.sort_by_key(|due| self.silent.get(cluster(due)).copied().unwrap_or(0));
        let busy: HashSet<&ClusterId> = self.under_way.values().collect();
        let is_silent = |cluster: &ClusterId| self.silent.contains_key(cluster);
        let mut silent = busy.iter().filter(|cluster| is_silent(cluster)).count();
        let mut all = busy.len();
        let may_be_asked = |due: &T| {
            let cluster = cluster(due);
            let fits = !busy.contains(cluster)
                && all < AT_ONCE
                && (!is_silent(cluster) || silent < SILENT_AT_ONCE);
            all += usize::from(fits);
            silent += usize::from(fits && is_silent(cluster));
            fits
        };
        due.into_iter().filter(may_be_asked).collect()
    }

    fn done(&mut self, task: task::Id, answered: bool) {
        let Some(cluster) = self.under_way.remove(&task) else {
            return;
        };
        self.turn += 1;
        match answered {
            true => self.silent.remove(&cluster),
            false => self.silent.insert(cluster, self.turn),
        };
    }
}

/// Whether the guard answered.
async fn renew(masters: Arc<Masters>, vouching: Vouching, limits: Limits) -> bool {
    let Vouching {
        cluster,
        side,
        epoch,
        guard,
    } = vouching;
    let guard = Guard {
        addr: guard,
        cluster: &cluster,
        epoch,
    };
    let Ok(answer) = guard.ask(&limits).await else {
        return false;
    };
    if let Some(ttl_ms) = answer.said.vouches_ms(epoch) {
        masters.guarded(&cluster, side, epoch, answer.asked, ttl_ms);
    }
    true
}

#[cfg(test)]
mod tests;
