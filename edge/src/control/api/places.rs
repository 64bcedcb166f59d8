//! Who gives way when all connections of a listener are taken?
//!
//! Asked by `api::server` for each connection that it accepts. A place costs a file descriptor and a task, so there are only so many; but if those
//! who hold them could keep others out, anybody who can connect could shut the operator out. So a new connection always gets a place: when none is
//! free, one that runs no call is cut, of the crowd that holds the most. Who has shown a token is a crowd of its own, by its name. Who has not is known
//! by where it comes from (the uid of a socket's peer, the address over TCP): where somebody showed a token lately it is one of that one's guests, else a
//! stranger, and all strangers are one crowd. Of the older half of those who have shown nothing, chance says who goes: if it were the oldest, a flood
//! would cut everybody between connecting and showing. Invariants 7 and 8. Knows nothing of HTTP; the time is an argument.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::control::tokens::Principal;

/// How long it is remembered where somebody showed a token.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Networks that are remembered. When there are more, those that were seen longest ago are forgotten, of who has `admin` last.
const REMEMBERED_MAX: usize = 1024;

/// Of those, networks of one principal: whoever has a token and many addresses makes nobody forgotten but itself.
const REMEMBERED_OF_ONE: usize = 16;

/// The part of all places that one network may hold and not give way before those that hold one each: a flood from many networks must not cut
/// who comes with two or three at once.
const FEW: usize = 16;

/// Whom a connection counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// A user of this machine, where the system told who.
    Uid(Option<u32>),
    /// An IPv4 address, or an IPv6 network of 64 bits: so much one machine may have to itself.
    Network(IpAddr),
    /// The same, where this one showed a token lately.
    Guest(Arc<str>, IpAddr),
    /// Someone who showed who it is.
    Principal(Arc<str>),
}

/// Connections that give way for each other.
#[derive(PartialEq, Eq, Hash)]
enum Crowd<'w> {
    Strangers,
    GuestsOf(&'w str),
    Of(&'w str),
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

    fn crowd(&self) -> Crowd<'_> {
        match self {
            Self::Uid(_) | Self::Network(_) => Crowd::Strangers,
            Self::Guest(of, _) => Crowd::GuestsOf(of),
            Self::Principal(name) => Crowd::Of(name),
        }
    }

    const fn has_shown(&self) -> bool {
        matches!(self, Self::Principal(_))
    }
}

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    /// Says who goes where chance does.
    chance: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By number: the oldest first.
    taken: BTreeMap<u64, Taken>,
    remembered: HashMap<IpAddr, Remembered>,
}

#[derive(Debug)]
struct Taken {
    who: Who,
    /// Where it comes from, over TCP.
    network: Option<IpAddr>,
    is_running: bool,
    cut: Arc<Notify>,
}

/// Who showed a token at a network.
#[derive(Debug)]
struct Remembered {
    name: Arc<str>,
    is_admin: bool,
    last: Instant,
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
            chance: RandomState::new(),
            state: Mutex::default(),
        })
    }

    /// A place for a new connection; `None` when a call runs on every one.
    pub(super) fn enter(self: &Arc<Self>, who: Who, now: Instant) -> Option<Place> {
        let mut state = self.state.lock();
        let network = match who {
            Who::Network(network) => Some(network),
            Who::Uid(_) | Who::Guest(..) | Who::Principal(_) => None,
        };
        let who = network
            .and_then(|network| state.guest(network, now))
            .unwrap_or(who);
        let number = state.next;
        if state.taken.len() >= self.max {
            let victim = state.victim(self.max / FEW, self.chance.hash_one(number))?;
            let victim = state.taken.remove(&victim)?;
            log::debug!("control plane: {:?} gives way to {who:?}", victim.who);
            victim.cut.notify_one();
        }
        state.next += 1;
        let cut = Arc::new(Notify::new());
        let taken = Taken {
            who,
            network,
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
    /// Whose guest somebody is who comes from this network.
    fn guest(&self, network: IpAddr, now: Instant) -> Option<Who> {
        let remembered = self.remembered.get(&network)?;
        (!remembered.is_over(now)).then(|| Who::Guest(Arc::clone(&remembered.name), network))
    }

    /// Who gives way. Strangers are one crowd, from however many addresses they come: else those who showed who they are, and keep a few
    /// connections, would give way to them; and so are the guests of one principal. In a crowd it is one from where the most come, if those are not `few`.
    fn victim(&self, few: usize, chance: u64) -> Option<u64> {
        let mut crowds: HashMap<Crowd<'_>, usize> = HashMap::new();
        let mut held: HashMap<&Who, usize> = HashMap::new();
        for taken in self.taken.values() {
            *crowds.entry(taken.who.crowd()).or_default() += 1;
            *held.entry(&taken.who).or_default() += 1;
        }
        let size = |taken: &Taken| {
            let of_crowd = crowds[&taken.who.crowd()];
            // As many of each: who has shown nothing goes first.
            let of_place = match taken.who.has_shown() {
                true => 0,
                false => 1 + held[&taken.who].saturating_sub(few),
            };
            (of_crowd, of_place)
        };
        let idle = self.taken.iter().filter(|(_, taken)| !taken.is_running);
        let largest = idle.clone().map(|(_, taken)| size(taken)).max()?;
        let of_largest: Vec<(&u64, &Taken)> =
            idle.filter(|(_, taken)| size(taken) == largest).collect();
        let (oldest, taken) = of_largest.first()?;
        if taken.who.has_shown() {
            return Some(**oldest);
        }
        // Whoever is quick is never cut: the younger half is spared.
        let older = of_largest.len().div_ceil(2);
        let index = chance % u64::try_from(older).ok()?;
        let (number, _) = of_largest.get(usize::try_from(index).ok()?)?;
        Some(**number)
    }

    /// Remembers where somebody showed who it is.
    fn remember(&mut self, network: IpAddr, principal: &Principal, now: Instant) {
        let is_admin = principal.is_admin();
        if let Some(found) = self.remembered.get_mut(&network) {
            if *found.name == *principal.name() {
                found.last = now;
                return;
            }
            // Behind one address there may be several: who has `admin` is the one that must get through.
            if !is_admin && found.is_admin && !found.is_over(now) {
                return;
            }
        }
        let remembered = Remembered {
            name: principal.name().into(),
            is_admin,
            last: now,
        };
        self.remembered.insert(network, remembered);
        let of_one = |of: &Remembered| *of.name == *principal.name();
        if self.remembered.values().filter(|of| of_one(of)).count() > REMEMBERED_OF_ONE {
            self.forget_oldest(of_one);
        }
        if self.remembered.len() > REMEMBERED_MAX {
            self.remembered.retain(|_, of| !of.is_over(now));
        }
        if self.remembered.len() > REMEMBERED_MAX {
            self.forget_oldest(|_| true);
        }
    }

    fn forget_oldest(&mut self, among: impl Fn(&Remembered) -> bool) {
        let found = self.remembered.iter().filter(|(_, of)| among(of));
        let oldest = found.min_by_key(|(_, of)| (of.is_admin, of.last));
        if let Some(network) = oldest.map(|(network, _)| *network) {
            self.remembered.remove(&network);
        }
    }
}

impl Remembered {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= REMEMBERED_FOR
    }
}

impl Place {
    /// Somebody shows who it is.
    pub(super) fn shown(&self, principal: &Principal, now: Instant) {
        let mut state = self.places.state.lock();
        let Some(taken) = state.taken.get_mut(&self.number) else {
            return;
        };
        taken.who = Who::Principal(principal.name().into());
        if let Some(network) = taken.network {
            state.remember(network, principal, now);
        }
    }

    /// A call runs, all of which is there. A connection runs one at a time.
    pub(super) fn run(&self) -> Running<'_> {
        self.set(|taken| taken.is_running = true);
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
mod tests;
