//! Who gives way when all connections of a listener are taken?
//!
//! Asked by `api::server` for each connection that it accepts. A place costs a file descriptor and a task, so there are only so many; but if those
//! who hold them could keep others out, anybody who can connect could shut the operator out. So a new connection always gets a place: when none is
//! free, one that runs no call is cut, of those who hold the most, the oldest first. Who has not shown a token yet is known by where it comes from
//! (the uid of a socket's peer, the address over TCP) and counts with all who have not, who has is known by its name. Invariants 7 and 8. Knows nothing of HTTP.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Whom a connection counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// A user of this machine, where the system told who.
    Uid(Option<u32>),
    /// An IPv4 address, or an IPv6 network of 64 bits: so much one machine may have to itself.
    Network(IpAddr),
    /// Someone who showed who it is.
    Principal(Arc<str>),
}

impl Who {
    /// Who comes from this address.
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
            address @ IpAddr::V4(_) => address,
        })
    }

    const fn is_stranger(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Network(_))
    }
}

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By number: the oldest first.
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    who: Who,
    is_running: bool,
    cut: Arc<Notify>,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    cut: Arc<Notify>,
}

/// A call that runs on a connection; over when it is dropped.
#[derive(Debug)]
pub(super) struct Running<'p>(&'p Place);

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            state: Mutex::default(),
        })
    }

    /// A place for a new connection; `None` when a call runs on every one.
    pub(super) fn enter(self: &Arc<Self>, who: Who) -> Option<Place> {
        let mut state = self.state.lock();
        if state.taken.len() >= self.max {
            let victim = state.victim()?;
            let victim = state.taken.remove(&victim)?;
            log::debug!("control plane: {:?} gives way to {who:?}", victim.who);
            victim.cut.notify_one();
        }
        let number = state.next;
        state.next += 1;
        let cut = Arc::new(Notify::new());
        let taken = Taken {
            who,
            is_running: false,
            cut: Arc::clone(&cut),
        };
        state.taken.insert(number, taken);
        Some(Place {
            places: Arc::clone(self),
            number,
            cut,
        })
    }
}

impl State {
    /// Who gives way. Strangers are one crowd, from however many addresses they come: else those who showed who they are, and keep a few
    /// connections, would give way to them.
    fn victim(&self) -> Option<u64> {
        let mut held: HashMap<&Who, usize> = HashMap::new();
        let mut strangers = 0;
        for taken in self.taken.values() {
            *held.entry(&taken.who).or_default() += 1;
            strangers += usize::from(taken.who.is_stranger());
        }
        let crowd = |taken: &Taken| match taken.who.is_stranger() {
            true => (strangers, held[&taken.who]),
            false => (held[&taken.who], 0),
        };
        let idle = self.taken.iter().filter(|(_, taken)| !taken.is_running);
        let largest = idle.clone().map(|(_, taken)| crowd(taken)).max()?;
        let mut of_largest = idle.filter(|(_, taken)| crowd(taken) == largest);
        of_largest.next().map(|(number, _)| *number)
    }
}

impl Place {
    /// A call begins, of someone who showed who it is. A connection runs one call at a time.
    pub(super) fn run(&self, name: &str) -> Running<'_> {
        self.set(|taken| {
            taken.who = Who::Principal(name.into());
            taken.is_running = true;
        });
        Running(self)
    }

    /// Waits until the connection must be closed.
    pub(super) async fn is_cut(&self) {
        self.cut.notified().await;
    }

    /// Has the connection closed.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Not of one that gave way already.
    fn set(&self, change: impl FnOnce(&mut Taken)) {
        if let Some(taken) = self.places.state.lock().taken.get_mut(&self.number) {
            change(taken);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(|taken| taken.is_running = false);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state.lock().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn who(address: &str) -> Who {
        Who::at(address.parse().expect("an address"))
    }

    async fn is_cut(place: &Place) -> bool {
        let cut = tokio::time::timeout(Duration::from_millis(1), place.is_cut());
        cut.await.is_ok()
    }

    #[tokio::test]
    async fn who_holds_the_most_gives_way_the_oldest_first() {
        let places = Places::new(4);
        let own = places.enter(who("192.0.2.1")).expect("free");
        let flood: Vec<_> = (0..3).map(|_| places.enter(who("192.0.2.9"))).collect();
        let flood: Vec<_> = flood
            .into_iter()
            .map(|place| place.expect("free"))
            .collect();
        let more = places.enter(who("192.0.2.9")).expect("one gives way");
        assert!(is_cut(&flood[0]).await);
        for place in [&own, &flood[1], &flood[2], &more] {
            assert!(!is_cut(place).await);
        }
        drop(flood);
        assert_eq!(places.state.lock().taken.len(), 2);
    }

    #[tokio::test]
    async fn strangers_from_many_addresses_give_way_before_who_is_known() {
        let places = Places::new(5);
        let own: Vec<_> = (0..2).map(|_| places.enter(who("192.0.2.1"))).collect();
        for place in &own {
            drop(place.as_ref().expect("free").run("admin"));
        }
        let mut strangers = Vec::new();
        for address in 2..40 {
            let address = who(&format!("192.0.2.{address}"));
            strangers.push(places.enter(address).expect("one gives way"));
        }
        for place in own.iter().flatten() {
            assert!(!is_cut(place).await);
        }
    }

    #[tokio::test]
    async fn who_is_known_and_holds_the_most_gives_way_to_strangers() {
        let places = Places::new(4);
        let known: Vec<_> = (0..4)
            .filter_map(|_| places.enter(who("192.0.2.1")))
            .collect();
        for place in &known {
            drop(place.run("token:shop"));
        }
        let stranger = places.enter(Who::Uid(Some(0))).expect("one gives way");
        let another = places.enter(who("192.0.2.9")).expect("one gives way");
        assert!(is_cut(&known[0]).await && is_cut(&known[1]).await);
        for place in [&known[2], &known[3], &stranger, &another] {
            assert!(!is_cut(place).await);
        }
    }

    #[tokio::test]
    async fn who_runs_a_call_keeps_its_place() {
        let places = Places::new(2);
        let busy = places.enter(who("192.0.2.9")).expect("free");
        let running = busy.run("token:shop");
        let idle = places.enter(Who::Uid(Some(0))).expect("free");
        let next = places.enter(who("192.0.2.9")).expect("one gives way");
        assert!(is_cut(&idle).await && !is_cut(&busy).await);
        let _other = next.run("token:other");
        assert!(places.enter(who("192.0.2.9")).is_none());
        drop(running);
        assert!(places.enter(who("192.0.2.9")).is_some());
        assert!(is_cut(&busy).await);
    }

    #[test]
    fn a_machine_counts_once_however_many_addresses_it_has() {
        assert_eq!(who("2001:db8::1"), who("2001:db8::ffff:1"));
        assert_ne!(who("2001:db8::1"), who("2001:db8:0:1::1"));
        assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
        assert_ne!(who("192.0.2.1"), who("192.0.2.2"));
    }
}
