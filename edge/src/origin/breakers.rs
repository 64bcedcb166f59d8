//! Is a live master to be spared for now, because it fails?
//!
//! One [`Breaker`] a site, under one epoch: neighbours on the same cluster do not pay for a site that is broken. Asked by `fetch` and by `story` once for
//! each request that would go out, and told how it ended. It never says *who* is master, and what is not sent for its sake is answered from
//! the store or at once (`story`). A site that never failed has none, so that it costs sites that work one look into an empty map.
//! Invariant 8: what one site's master does to it is not done to others.

use std::collections::HashMap;

use http::StatusCode;
use jet9_cluster::breaker::{Breaker, Turned, Verdict};
use jet9_cluster::{Epoch, Instant};
use jet9_config::{ClusterId, SiteId};
use parking_lot::Mutex;

use crate::origin::master::Route;
use crate::response::fault::{Fault, OriginFault};

/// The breakers of the sites that failed lately.
#[derive(Debug, Default)]
pub struct Breakers {
    sites: Mutex<HashMap<SiteId, OfSite>>,
}

#[derive(Debug)]
struct OfSite {
    cluster: ClusterId,
    epoch: Epoch,
    breaker: Breaker,
}

/// How a request ended, as far as it says something about the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An answer.
    Well,
    /// No connection, no answer, or one that says that there is no server behind the one that answers.
    Failed,
}

impl Ended {
    /// What a status says; `None`: nothing. A 500 is an application's word about one request, and may be about a single page.
    pub const fn with(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Some(Self::Failed),
            StatusCode::INTERNAL_SERVER_ERROR => None,
            _ => Some(Self::Well),
        }
    }

    /// What a fault says; `None`: nothing, because it is another's.
    pub const fn by(fault: &Fault) -> Option<Self> {
        match fault {
            Fault::Origin(OriginFault::EpochEnded | OriginFault::Refused(_)) => None,
            Fault::Origin(_) => Some(Self::Failed),
            Fault::Client(_) | Fault::Cluster(_) | Fault::Edge(_) => None,
        }
    }
}

impl Breakers {
    /// Whether a request of a site may go out on this route now.
    pub fn ask(&self, site: &SiteId, route: &Route, now: Instant) -> Verdict {
        let mut sites = self.sites.lock();
        let known = sites.get_mut(site);
        known
            .filter(|known| known.is_of(&route.cluster, route.epoch))
            .map_or(Verdict::Pass, |known| known.breaker.ask(now))
    }

    /// What [`Self::ask`] would say now. It is not counted as a request.
    pub fn prospect(&self, site: &SiteId, route: &Route, now: Instant) -> Verdict {
        let sites = self.sites.lock();
        let known = sites.get(site);
        let known = known.filter(|known| known.is_of(&route.cluster, route.epoch));
        known.map_or(Verdict::Pass, |known| known.breaker.clone().ask(now))
    }

    /// Whether most requests of a site to the master of this epoch are refused.
    pub fn is_open(&self, site: &SiteId, cluster: &ClusterId, epoch: Epoch) -> bool {
        let sites = self.sites.lock();
        let known = sites.get(site);
        known.is_some_and(|known| known.is_of(cluster, epoch) && known.breaker.is_open())
    }

    /// A request that went out on this route ended so.
    pub fn ended(&self, site: &SiteId, route: &Route, how: Ended, now: Instant) -> Option<Turned> {
        let mut sites = self.sites.lock();
        if !sites.contains_key(site) {
            if how == Ended::Well {
                return None;
            }
            sites.retain(|_, known| !known.breaker.is_idle(now));
        }
        let known = sites
            .entry(site.clone())
            .or_insert_with(|| OfSite::on(route));
        let mut turned = None;
        // A lower epoch is late news of a master that is no more; or a cluster was forgotten and begins anew, and nobody asks for what is known.
        let is_late = known.epoch > route.epoch && !known.breaker.is_idle(now);
        if known.cluster == route.cluster && is_late {
            return None;
        }
        if !known.is_of(&route.cluster, route.epoch) {
            turned = known.breaker.is_open().then_some(Turned::Closed);
            *known = OfSite::on(route);
        }
        turned = known.breaker.ended(how == Ended::Well, now).or(turned);
        if known.breaker.is_idle(now) {
            sites.remove(site);
        }
        turned
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        let sites = self.sites.lock();
        let open = sites.values().filter(|known| known.breaker.is_open());
        open.count()
    }
}

impl OfSite {
    fn on(route: &Route) -> Self {
        Self {
            cluster: route.cluster.clone(),
            epoch: route.epoch,
            breaker: Breaker::default(),
        }
    }

    fn is_of(&self, cluster: &ClusterId, epoch: Epoch) -> bool {
        self.cluster == *cluster && self.epoch == epoch
    }
}

#[cfg(test)]
mod tests {
    use jet9_config::Side;

    use super::*;
    use crate::response::fault::ClientFault;

    fn route(epoch: u64) -> Route {
        Route {
            cluster: ClusterId::parse("c-1").unwrap(),
            side: Side::A,
            epoch: Epoch(epoch),
            addrs: vec!["192.0.2.10:80".parse().unwrap()],
            is_guarded: false,
        }
    }

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).unwrap()
    }

    fn fail(breakers: &Breakers, site: &SiteId, epoch: u64, times: usize) -> Option<Turned> {
        let end = |_| breakers.ended(site, &route(epoch), Ended::Failed, Instant(0));
        (0..times).map(end).last().flatten()
    }

    #[test]
    fn a_failure_is_an_answer_of_nobody_and_of_no_single_page() {
        let check = |status: u16, expected| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Ended::with(status), expected, "{status}");
        };
        check(200, Some(Ended::Well));
        check(404, Some(Ended::Well));
        check(500, None);
        check(501, Some(Ended::Well));
        for status in [502, 503, 504] {
            check(status, Some(Ended::Failed));
        }
        let by = |fault| Ended::by(&fault);
        let failed = Some(Ended::Failed);
        assert_eq!(by(Fault::Origin(OriginFault::ConnectTimeout)), failed);
        assert_eq!(by(Fault::Origin(OriginFault::FirstByteTimeout)), failed);
        assert_eq!(by(Fault::Origin(OriginFault::EpochEnded)), None);
        assert_eq!(by(Fault::Client(ClientFault::Left)), None);
    }

    #[test]
    fn a_site_that_fails_is_spared_and_its_neighbours_are_not() {
        let breakers = Breakers::default();
        let (bad, good) = (site("bad"), site("good"));
        assert_eq!(fail(&breakers, &bad, 1, 5), Some(Turned::Open));
        let ask = |site, epoch| breakers.ask(site, &route(epoch), Instant(1));
        assert_eq!(ask(&bad, 1), Verdict::Refuse);
        assert_eq!(ask(&good, 1), Verdict::Pass);
        assert_eq!(ask(&bad, 2), Verdict::Pass, "another master");
        assert_eq!(breakers.open(), 1);
    }

    #[test]
    fn a_new_master_begins_with_a_new_one_and_old_news_change_nothing() {
        let breakers = Breakers::default();
        let bad = site("bad");
        fail(&breakers, &bad, 1, 5);
        assert_eq!(fail(&breakers, &bad, 2, 1), Some(Turned::Closed));
        assert_eq!(breakers.open(), 0);
        assert_eq!(fail(&breakers, &bad, 1, 5), None);
        assert_eq!(breakers.open(), 0);
        assert_eq!(fail(&breakers, &bad, 2, 4), Some(Turned::Open));
    }

    #[test]
    fn a_cluster_that_begins_anew_with_a_low_epoch_is_spared_too() {
        let breakers = Breakers::default();
        let bad = site("bad");
        fail(&breakers, &bad, 40, 5);
        let fail = |at: u64, times: usize| {
            let end = |_| breakers.ended(&bad, &route(1), Ended::Failed, Instant(at));
            (0..times).map(end).last().flatten()
        };
        assert_eq!(fail(1, 5), None, "late news");
        let later = 1_000_000;
        assert_eq!(fail(later, 1), Some(Turned::Closed), "of the one before");
        assert_eq!(fail(later, 4), Some(Turned::Open));
        let asked = breakers.ask(&bad, &route(1), Instant(later));
        assert_eq!(asked, Verdict::Refuse);
    }

    #[test]
    fn what_works_is_not_remembered() {
        let breakers = Breakers::default();
        let (one, other) = (site("one"), site("other"));
        breakers.ended(&one, &route(1), Ended::Well, Instant(0));
        assert!(breakers.sites.lock().is_empty());
        fail(&breakers, &one, 1, 5);
        let later = Instant(1_000_000);
        breakers.ended(&other, &route(1), Ended::Failed, later);
        let known: Vec<_> = breakers.sites.lock().keys().cloned().collect();
        assert_eq!(known, [other], "nobody asked for the first any more");
    }
}
