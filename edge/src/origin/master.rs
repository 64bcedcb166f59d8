//! Which side may a request be sent to now; and if none, is it worth waiting?
//!
//! Asked before every attempt, by fetches and by pass-through alike, and again right before the first byte goes out ([`recheck`]).
//! Decides on what the cluster's view says; how a view is formed is the business of `jet9-cluster`. Nothing is sent while held, so a
//! request of any method may be held, and its content is not read meanwhile.
//! Invariant 1: nothing goes to a side under an epoch that is no longer the highest adopted.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use jet9_cache::Timestamp;
use jet9_cluster::breaker::{Turned, Verdict};
use jet9_cluster::{Epoch, Instant, Mastership};
use jet9_config::site::Origin;
use jet9_config::{ClusterId, Side};
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};

use crate::clock;
use crate::control::sites::SiteRuntime;
use crate::exchange::Exchange;
use crate::origin::breakers::Ended;
use crate::origin::guard::{Refusal, Said};
use crate::parts::Edge;
use crate::record::metrics::Outcome;

/// The right to send one request: to this side, under this epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The cluster.
    pub cluster: ClusterId,
    /// The live master.
    pub side: Side,
    /// The epoch that made it so.
    pub epoch: Epoch,
    /// Where it listens, the site's port rule applied, in order of preference; never empty.
    pub addrs: Vec<SocketAddr>,
    /// Whether the side has a guard whose word is believed.
    pub is_guarded: bool,
}

/// Why there is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The cluster is switching and the hold ran out, or there was no place to be held.
    Held,
    /// The live master fails, and is spared for now.
    Spared,
    /// It cannot be known who is master.
    Doubtful(jet9_cluster::Doubt),
    /// Both sides are down.
    Down,
    /// The operator took the cluster out.
    Drained,
}

/// The route for a site's request, waiting for a live master while the cluster switches, within the site's, the cluster's and the node's
/// limits. Drop the future when the client leaves: its place is free again. Adds the time held to the exchange; what was held before
/// counts, so that a request that meets several switches is held no longer than one that meets one. Who was held goes when it is its turn:
/// that comes on top, and is less than a second for a thousand. No route is under a lower epoch than `at_least`, of which a side has told: it
/// is waited for as for any switch.
///
/// # Errors
/// Says why there is none.
pub async fn route(
    edge: &Edge,
    site: &SiteRuntime,
    exchange: &mut Exchange,
    at_least: Epoch,
) -> Result<Route, NoRoute> {
    let origin = &site.site.origin;
    let cluster = &origin.cluster;
    let decide = || decide(edge.masters.current(cluster), origin, at_least);
    let up_to = match decide() {
        Decision::Send(route) => return Ok(route),
        Decision::Refuse(why) => return Err(why),
        Decision::Hold(up_to) => up_to.saturating_sub(exchange.held),
    };
    let holds = edge.origins.holds();
    let Some(place) = holds.enter(cluster, &site.site.id, origin.hold_requests) else {
        return Err(NoRoute::Held);
    };
    let _counted = edge.recorder.origin().hold();
    let _held = HeldTime::begin(exchange);
    let by = tokio::time::Instant::now() + up_to;
    loop {
        let decided = until_decided(decide, edge.masters.changed(cluster));
        let route = timeout_at(by, decided)
            .await
            .unwrap_or(Err(NoRoute::Held))?;
        let now = clock::boottime();
        let turn = place.turn(route.epoch, now);
        sleep(Duration::from_millis(turn.0.saturating_sub(now.0))).await;
        if recheck(edge, &route) {
            return Ok(route);
        }
    }
}

/// Whether a request of a site may go out on its route, or the master is spared because it fails. Asked once for each request, before its
/// first attempt; then [`told`] how it ended.
///
/// # Errors
/// [`NoRoute::Spared`].
pub fn spare(edge: &Edge, site: &SiteRuntime, route: &Route) -> Result<(), NoRoute> {
    let breakers = edge.origins.breakers();
    if !site.site.origin.breaker {
        return Ok(());
    }
    match breakers.ask(&site.site.id, route, breaker_time(edge)) {
        Verdict::Pass => Ok(()),
        Verdict::Refuse => {
            edge.recorder.origin().spared();
            Err(NoRoute::Spared)
        }
    }
}

/// A request that had gone out on this route ended so; `None`: its end says nothing about the master.
pub fn told(edge: &Edge, site: &SiteRuntime, route: &Route, how: Option<Ended>) {
    let Some(how) = how.filter(|_| site.site.origin.breaker) else {
        return;
    };
    let (breakers, site) = (edge.origins.breakers(), &site.site.id);
    let turned = breakers.ended(site, route, how, breaker_time(edge));
    if turned.is_some() || how == Ended::Failed {
        let open = i64::try_from(breakers.open()).unwrap_or(i64::MAX);
        edge.recorder.origin().breakers_open(open);
    }
    let (cluster, side) = (&route.cluster, route.side);
    match turned {
        Some(Turned::Open) => {
            log::error!("site {site}: side {side} of cluster {cluster} fails and is spared");
        }
        Some(Turned::Closed) => {
            log::info!("site {site}: side {side} of cluster {cluster} is asked as before");
        }
        None => {}
    }
}

/// Whether most requests of a site are refused to spare its live master.
pub fn is_spared(edge: &Edge, site: &SiteRuntime) -> bool {
    let cluster = &site.site.origin.cluster;
    match edge.masters.current(cluster) {
        Mastership::Live { epoch, .. } if site.site.origin.breaker => {
            let breakers = edge.origins.breakers();
            breakers.is_open(&site.site.id, cluster, epoch)
        }
        _ => false,
    }
}

/// The breakers go by the node's wall clock, which tests may move.
fn breaker_time(edge: &Edge) -> Instant {
    Instant(edge.clock.now().unix_millis())
}

/// What would become of a request of a site that needs a side now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// It is sent.
    Sent,
    /// It is held for a live master, at most this long.
    Held(Duration),
    /// There is no route.
    Refused(NoRoute),
}

/// What [`route`] and [`spare`] would decide now, without waiting and without being counted.
pub fn prospect(edge: &Edge, site: &SiteRuntime) -> Prospect {
    let origin = &site.site.origin;
    let is_spared = |route: &Route| {
        let now = breaker_time(edge);
        let verdict = edge.origins.breakers().prospect(&site.site.id, route, now);
        origin.breaker && verdict == Verdict::Refuse
    };
    match decide(edge.masters.current(&origin.cluster), origin, Epoch(0)) {
        Decision::Send(route) if is_spared(&route) => Prospect::Refused(NoRoute::Spared),
        Decision::Send(_) => Prospect::Sent,
        Decision::Hold(up_to) => Prospect::Held(up_to),
        Decision::Refuse(why) => Prospect::Refused(why),
    }
}

/// Whether a route still holds: its epoch is the highest adopted, live, and names the same side. The last thing asked before the first byte.
pub fn recheck(edge: &Edge, route: &Route) -> bool {
    is_live(&edge.masters.current(&route.cluster), route)
}

/// Whether what was fetched by a route may change what is stored: its epoch is still the highest adopted. A side that was superseded answers
/// those who asked it, and nobody else.
pub fn admits(edge: &Edge, route: &Route) -> bool {
    edge.masters.admits(&route.cluster, route.epoch)
}

/// Whether a guard has refused what was sent on this route. Where the cluster's document names no guard for the side, whatever answers so is
/// an application: its answer goes to the visitor, and no request is repeated or held at its word.
pub fn refusal(route: &Route, status: StatusCode, said: Said) -> Option<Refusal> {
    let refusal = said.refusal(status, route.epoch);
    refusal.filter(|_| route.is_guarded)
}

/// A side's guard said this in its answer to a request that was sent on this route at this moment: it may renew the lease of the side.
pub fn heard(edge: &Edge, route: &Route, said: Said, sent: Instant) {
    if let Some(ttl_ms) = said.vouches_ms(route.epoch) {
        let Route {
            cluster,
            side,
            epoch,
            ..
        } = route;
        edge.masters.guarded(cluster, *side, *epoch, sent, ttl_ms);
    }
}

/// Counts an attempt on a route that has ended, and raises the alarm if it was sent where it must not go (invariant 1).
pub fn ended(edge: &Edge, route: &Route, sent: Option<Timestamp>, outcome: Outcome) {
    let counted = edge.recorder.origin();
    counted.attempted(route.side, outcome);
    if sent.is_some_and(|sent| {
        edge.masters
            .was_superseded(&route.cluster, route.epoch, sent)
    }) {
        counted.wrong_side();
        log::error!(
            "cluster {}: a request went to side {} under epoch {}, which was no longer the highest",
            route.cluster,
            route.side,
            route.epoch.0
        );
    }
}

fn is_live(now: &Mastership, route: &Route) -> bool {
    matches!(now, Mastership::Live { side, epoch, .. } if *side == route.side && *epoch == route.epoch)
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Send(Route),
    Hold(Duration),
    Refuse(NoRoute),
}

fn decide(mastership: Mastership, origin: &Origin, at_least: Epoch) -> Decision {
    match mastership {
        Mastership::Live { epoch, .. } if epoch < at_least => Decision::Hold(origin.hold_max),
        Mastership::Live {
            side,
            epoch,
            addrs,
            guard,
            ..
        } => Decision::Send(Route {
            cluster: origin.cluster.clone(),
            side,
            epoch,
            addrs: with_port(addrs, origin.port),
            is_guarded: guard.is_some(),
        }),
        Mastership::Switching { hold_ms, .. } => {
            Decision::Hold(origin.hold_max.min(Duration::from_millis(hold_ms)))
        }
        Mastership::Doubtful(doubt) => Decision::Refuse(NoRoute::Doubtful(doubt)),
        Mastership::Vacant { drained: true, .. } => Decision::Refuse(NoRoute::Drained),
        Mastership::Vacant { drained: false, .. } => Decision::Refuse(NoRoute::Down),
    }
}

fn with_port(mut addrs: Vec<SocketAddr>, port: u16) -> Vec<SocketAddr> {
    if port != 0 {
        addrs.iter_mut().for_each(|addr| addr.set_port(port));
    }
    addrs
}

/// Waits until the decision is another one than to hold.
async fn until_decided(
    decide: impl Fn() -> Decision,
    mut changes: watch::Receiver<u64>,
) -> Result<Route, NoRoute> {
    loop {
        // Marked as seen before looking, so that a change between looking and waiting wakes.
        changes.borrow_and_update();
        match decide() {
            Decision::Send(route) => return Ok(route),
            Decision::Refuse(why) => return Err(why),
            Decision::Hold(_) => {}
        }
        if changes.changed().await.is_err() {
            return Err(NoRoute::Held);
        }
    }
}

/// Adds the time from its beginning to its drop to the exchange, so that a client that leaves while held is recorded too.
struct HeldTime<'a> {
    exchange: &'a mut Exchange,
    since: std::time::Instant,
}

impl<'a> HeldTime<'a> {
    fn begin(exchange: &'a mut Exchange) -> Self {
        Self {
            exchange,
            since: clock::monotonic(),
        }
    }
}

impl Drop for HeldTime<'_> {
    fn drop(&mut self) {
        self.exchange.held += clock::monotonic().duration_since(self.since);
    }
}

#[cfg(test)]
mod tests {
    use jet9_cluster::Doubt;
    use jet9_config::site::{OriginHost, OriginScheme, UnknownCoding};

    use parking_lot::Mutex;

    use super::*;

    fn origin(port: u16) -> Origin {
        Origin {
            cluster: ClusterId::parse("c-1").unwrap(),
            scheme: OriginScheme::Http,
            host: OriginHost::Preserve,
            port,
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(60),
            hold_max: Duration::from_secs(15),
            hold_requests: 2,
            retry_idempotent: 1,
            breaker: true,
            unknown_transfer_coding: UnknownCoding::Refuse,
        }
    }

    fn live(side: Side, epoch: u64) -> Mastership {
        Mastership::Live {
            side,
            epoch: Epoch(epoch),
            addrs: vec!["192.0.2.10:80".parse().unwrap()],
            guard: None,
            until: None,
        }
    }

    fn route(side: Side, epoch: u64, addr: &str) -> Route {
        Route {
            cluster: ClusterId::parse("c-1").unwrap(),
            side,
            epoch: Epoch(epoch),
            addrs: vec![addr.parse().unwrap()],
            is_guarded: false,
        }
    }

    #[test]
    fn each_state_of_a_cluster_has_its_decision() {
        let check = |mastership: Mastership, port: u16, expected: Decision| {
            assert_eq!(
                decide(mastership.clone(), &origin(port), Epoch(3)),
                expected,
                "{mastership:?}"
            );
        };
        let switching = |hold_ms| Mastership::Switching {
            epoch: Epoch(3),
            hold_ms,
        };
        let vacant = |drained| Mastership::Vacant {
            epoch: Epoch(3),
            drained,
        };
        check(
            live(Side::B, 3),
            0,
            Decision::Send(route(Side::B, 3, "192.0.2.10:80")),
        );
        check(
            live(Side::B, 3),
            8080,
            Decision::Send(route(Side::B, 3, "192.0.2.10:8080")),
        );
        check(live(Side::A, 2), 0, Decision::Hold(Duration::from_secs(15)));
        check(
            switching(10_000),
            0,
            Decision::Hold(Duration::from_secs(10)),
        );
        check(
            switching(20_000),
            0,
            Decision::Hold(Duration::from_secs(15)),
        );
        check(
            Mastership::Doubtful(Doubt::LeaseExpired),
            0,
            Decision::Refuse(NoRoute::Doubtful(Doubt::LeaseExpired)),
        );
        check(vacant(true), 0, Decision::Refuse(NoRoute::Drained));
        check(vacant(false), 0, Decision::Refuse(NoRoute::Down));
    }

    #[test]
    fn a_route_holds_only_while_its_side_is_live_in_its_epoch() {
        let check = |now: Mastership, expected: bool| {
            let old = route(Side::A, 3, "192.0.2.10:80");
            assert_eq!(is_live(&now, &old), expected, "{now:?}");
        };
        check(live(Side::A, 3), true);
        check(live(Side::A, 4), false);
        check(live(Side::B, 3), false);
        check(Mastership::Doubtful(Doubt::LeaseExpired), false);
        check(
            Mastership::Switching {
                epoch: Epoch(4),
                hold_ms: 1,
            },
            false,
        );
    }

    #[tokio::test]
    async fn a_held_request_goes_on_with_the_change_that_makes_a_master_live() {
        let (tell, changes) = watch::channel(0);
        let state = Mutex::new(Mastership::Switching {
            epoch: Epoch(2),
            hold_ms: 10_000,
        });
        let held = until_decided(
            || decide(state.lock().clone(), &origin(0), Epoch(0)),
            changes,
        );
        let switch = async {
            tokio::task::yield_now().await;
            tell.send_replace(1); // A change that changes nothing here: it goes on waiting.
            tokio::task::yield_now().await;
            *state.lock() = live(Side::B, 3);
            tell.send_replace(2);
        };
        let (routed, ()) = tokio::join!(held, switch);
        assert_eq!(routed, Ok(route(Side::B, 3, "192.0.2.10:80")));
    }

    #[tokio::test]
    async fn a_held_request_learns_that_the_cluster_went_down() {
        let (tell, changes) = watch::channel(0);
        let state = Mutex::new(Mastership::Switching {
            epoch: Epoch(2),
            hold_ms: 10_000,
        });
        let held = until_decided(
            || decide(state.lock().clone(), &origin(0), Epoch(0)),
            changes,
        );
        let down = async {
            tokio::task::yield_now().await;
            *state.lock() = Mastership::Vacant {
                epoch: Epoch(3),
                drained: false,
            };
            tell.send_replace(1);
        };
        let (routed, ()) = tokio::join!(held, down);
        assert_eq!(routed, Err(NoRoute::Down));
    }
}
