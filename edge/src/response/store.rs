//! A fill: the detached fetch that stores what it may and feeds all its readers.
//!
//! Started by `story` for the request that leads, or for nobody (background revalidation). Does what [`verdict`] says of the origin's answer:
//! hands it to the store, freshens what is there, or gives it to the leader alone.
//! The client is only a reader: it may be slow or leave. Invariants 3 (what readers get is what came), 5 (what may be shared), and the
//! store's half of 4 (the fetch says when it was sent).

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jet9_cache::collapse::Lead;
use jet9_cache::fill::{FillWriter, Filling};
use jet9_cache::prediction::{self, Asker, Credentials};
use jet9_cache::semantics::invalidation::{self, Target};
use jet9_cache::semantics::request::RequestPolicy;
use jet9_cache::semantics::storable::TimesOfExchange;
use jet9_cache::semantics::validation;
use jet9_cache::semantics::vary::{SelectingFields, Selector};
use jet9_cache::store::StoredHandle;
use jet9_cache::{Reason, StoredResponse};
use jet9_cluster::Epoch;
use jet9_config::ClusterId;
use log::warn;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::clock;
use crate::control::purge;
use crate::control::sites::SiteRuntime;
use crate::exchange::{Attempt, Exchange};
use crate::interim::Teller;
use crate::message::Request;
use crate::origin::fetch::{self, OriginAnswer, OriginBody, Progress, Purpose};
use crate::origin::receive::Received;
use crate::parts::Edge;
use crate::request::client::Client;
use crate::request::key;
use crate::response::fault::{Fault, OriginFault};
use crate::response::posted::{Gathering, Posted};
use crate::response::verdict::{self, Answered, Fetched, Kept, Verdict};

/// A fetch that leads: everything it needs, owned, because it outlives its client.
#[derive(Debug)]
pub struct Fill {
    /// The node.
    pub edge: Arc<Edge>,
    /// The site.
    pub site: Arc<SiteRuntime>,
    /// The client whose request leads: sides see its address.
    pub client: Arc<Client>,
    /// The id of the request that leads.
    pub request_id: String,
    /// The request that leads.
    pub request: Request,
    /// How it may be answered.
    pub policy: RequestPolicy,
    /// The right to fetch.
    pub lead: Lead,
    /// The stored response to validate, if there is one.
    pub stale: Option<Stale>,
    /// The way to tell the leader of interim responses, where it wants to be told.
    pub interim: Option<Teller>,
}

/// A stored response that a fill validates.
#[derive(Clone, Debug)]
pub struct Stale {
    /// Names it in the store.
    pub handle: StoredHandle,
    /// Its head.
    pub response: Arc<StoredResponse>,
    /// Whether it may be served if the origin fails; then a server error is not stored over it.
    pub serves_errors: bool,
}

/// What came of a fetch, for the request that leads.
#[derive(Debug)]
pub struct Report {
    /// The result.
    pub outcome: Outcome,
    /// The attempts at the origin.
    pub attempts: Vec<Attempt>,
    /// How long it was held for a live master.
    pub held: Duration,
}

/// The result of a fetch.
#[derive(Debug)]
pub enum Outcome {
    /// It is being stored: read along.
    Filling(Filling),
    /// The origin confirmed the stored response: this is its head now, its content is the leader's to give.
    Confirmed(Box<StoredResponse>),
    /// It is for the leader alone.
    Private {
        /// The answer.
        answer: Box<OriginAnswer>,
        /// Why it is not shared.
        why: Reason,
    },
    /// A server error, while a stored response may be served in its place.
    ServerError(Box<OriginAnswer>),
    /// No usable answer.
    Failed(Fault),
}

impl Fill {
    /// Starts the fetch as a task of its own. The report comes as soon as it is clear what the answer is; a leader that left drops it.
    pub fn detach(self) -> oneshot::Receiver<Report> {
        let (report, reports) = oneshot::channel();
        let under_way = self.edge.recorder.origin().fetch();
        tokio::spawn(async move {
            self.run(report).await;
            drop(under_way);
        });
        reports
    }

    async fn run(mut self, mut report: oneshot::Sender<Report>) {
        let mut exchange = Exchange::begin(
            Arc::clone(&self.client),
            self.request_id.clone(),
            clock::monotonic(),
            self.edge.clock.now(),
        );
        let followers = self.lead.deserted();
        let unwanted = async {
            report.closed().await;
            followers.await;
        };
        let fetched = self.fetch(&mut exchange, pin!(unwanted)).await;
        let (outcome, pump) = match fetched {
            Ok((answer, verdict)) => self.settle(answer, verdict).await,
            Err(fault) => (Outcome::Failed(fault), None),
        };
        let Exchange { attempts, held, .. } = exchange;
        // A leader that has left drops the report, and with it a private answer: its connection closes.
        let _ = report.send(Report {
            outcome,
            attempts,
            held,
        });
        if let Some(pump) = pump {
            pump.run().await;
        }
    }

    /// One fetch, with the stored validators if there are any; once more without them when the 304 is about something else. `unwanted`
    /// is ready when neither the leader nor a follower is left: the fetch is not held for a live master then.
    async fn fetch(
        &mut self,
        exchange: &mut Exchange,
        mut unwanted: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<(OriginAnswer, Verdict), Fault> {
        let conditional = self
            .stale
            .as_ref()
            .map(|stale| validation::conditional_fields(&stale.response).collect());
        let answer = self
            .attempt(
                exchange,
                &conditional.unwrap_or_default(),
                unwanted.as_mut(),
            )
            .await?;
        let verdict = self.verdict(&answer);
        if !matches!(verdict, Verdict::OfSomethingElse) {
            return Ok((answer, verdict));
        }
        self.stale = None;
        drop(answer);
        let answer = self.attempt(exchange, &HeaderMap::new(), unwanted).await?;
        let verdict = self.verdict(&answer);
        Ok((answer, verdict))
    }

    async fn attempt(
        &mut self,
        exchange: &mut Exchange,
        conditional: &HeaderMap,
        unwanted: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<OriginAnswer, Fault> {
        let (lead, interim) = (&mut self.lead, &mut self.interim);
        let purpose = Purpose {
            conditional,
            for_storing: true,
            unwanted,
            tell: &mut |progress| match (progress, &mut *interim) {
                (Progress::Sent, _) => lead.sent(),
                (Progress::Interim(received), Some(interim)) => interim.tell(received),
                (Progress::Interim(_), None) => {}
            },
        };
        let answer = fetch::fetch(&self.edge, exchange, &self.request, &self.site, purpose).await?;
        purge::by_response(&self.edge, &self.site, &self.request, &answer.fields).await;
        Ok(answer)
    }

    fn verdict(&self, answer: &OriginAnswer) -> Verdict {
        let fetched = Fetched {
            edge: &self.edge,
            site: &self.site,
            path: self.request.path(),
            policy: &self.policy,
            stale: self.stale.as_ref(),
        };
        let answered = Answered {
            status: answer.status,
            fields: &answer.fields,
            length: answer.length,
            times: TimesOfExchange {
                request_time: answer.request_time,
                response_time: answer.response_time,
            },
            in_epoch: Ground::of(answer).holds(&self.edge),
        };
        verdict::of(fetched, answered)
    }

    /// Does what the verdict on an answer says.
    async fn settle(self, answer: OriginAnswer, verdict: Verdict) -> (Outcome, Option<Pump>) {
        match verdict {
            Verdict::Stored(stored) => self.store(answer, *stored),
            Verdict::Confirmed(response, kept) => {
                drop(answer);
                (self.confirm(response, kept).await, None)
            }
            Verdict::Alone(why) => (self.leave_alone(answer, why), None),
            Verdict::Failure => (Outcome::ServerError(Box::new(answer)), None),
            Verdict::OfSomethingElse => (unasked("an unasked 304"), None),
            Verdict::Unasked(rule) => (unasked(rule), None),
        }
    }

    /// Puts the freshened head in the place of the old one, or takes the old one away.
    async fn confirm(self, response: Box<StoredResponse>, kept: Kept) -> Outcome {
        match (kept, &self.stale) {
            (Kept::Yes, Some(stale)) => {
                self.edge
                    .cache
                    .freshen(&stale.handle, (*response).clone())
                    .await;
                self.lead.freshened();
            }
            (Kept::No(why), _) => {
                self.learn(why, response.status, &response.vary);
                if let Err(error) = self.edge.cache.invalidate(self.lead.key()).await {
                    warn!("{}: not invalidated: {error}", self.request.host.as_str());
                }
                self.lead.release(why);
            }
            (Kept::AsItWas, _) => self.lead.release(Reason::EpochEnded),
            (Kept::Yes, None) => {}
        }
        Outcome::Confirmed(response)
    }

    fn store(self, answer: OriginAnswer, stored: StoredResponse) -> (Outcome, Option<Pump>) {
        let ground = Ground::of(&answer);
        let asker = self.asker();
        let variant = asker.selecting.hash(&stored.vary, self.edge.cache.keys());
        self.lead.unlearn(&asker);
        let (writer, filling) = self.lead.begin(stored, variant, answer.length);
        let pump = Pump::new(self.edge, writer, answer.body, answer.length, ground);
        (Outcome::Filling(filling), Some(pump))
    }

    fn leave_alone(self, answer: OriginAnswer, why: Reason) -> Outcome {
        let (rules, _) = self.site.rules_for(self.request.path());
        let vary = prediction::selectors(&answer.fields, rules);
        self.learn(why, answer.status, &vary);
        self.lead.release(why);
        Outcome::Private {
            answer: Box::new(answer),
            why,
        }
    }
}

impl Fill {
    fn asker(&self) -> Asker<'_> {
        let (rules, _) = self.site.rules_for(self.request.path());
        Asker {
            key: self.lead.key(),
            selecting: SelectingFields::of(&self.request.fields)
                .without_cookies(&rules.ignore_cookies),
            credentials: Credentials::of(&self.policy),
            rules: self.site.generation,
        }
    }

    /// Remembers why an answer is not stored, where that says something about the next ones.
    fn learn(&self, why: Reason, status: StatusCode, vary: &[Selector]) {
        if prediction::teaches(why, status, &self.policy.directives) {
            let now = self.edge.clock.now();
            self.lead.learn(&self.asker(), why, vary, now);
        }
    }
}

fn unasked(rule: &'static str) -> Outcome {
    Outcome::Failed(Fault::Origin(OriginFault::Malformed(rule)))
}

/// Under which epoch of which cluster something was fetched: what a superseded master said is for those who asked it, and is not stored.
struct Ground {
    cluster: ClusterId,
    epoch: Epoch,
}

impl Ground {
    fn of(answer: &OriginAnswer) -> Self {
        Self {
            cluster: answer.cluster.clone(),
            epoch: answer.epoch,
        }
    }

    fn holds(&self, edge: &Edge) -> bool {
        edge.masters.admits(&self.cluster, self.epoch)
    }
}

/// How long a fill goes on with nobody reading it: an origin that trickles must not hold a connection for nobody.
const ALONE_MAX: Duration = Duration::from_secs(60);

/// Moves content from the origin into a fill.
struct Pump {
    edge: Arc<Edge>,
    writer: FillWriter,
    body: OriginBody,
    ground: Ground,
    /// Told when `ground` may hold no longer.
    changes: watch::Receiver<u64>,
    /// Bytes still to come, where that was announced.
    left: Option<u64>,
    received: u64,
    /// Until when it goes on alone, while nobody reads.
    alone_until: Option<Instant>,
}

impl Pump {
    fn new(
        edge: Arc<Edge>,
        writer: FillWriter,
        body: OriginBody,
        length: Option<u64>,
        ground: Ground,
    ) -> Self {
        Self {
            changes: edge.masters.changed(&ground.cluster),
            edge,
            writer,
            body,
            ground,
            left: length,
            received: 0,
            alone_until: None,
        }
    }

    /// To the end, or until it is given up. Dropping the writer breaks the fill: readers see it, nothing is stored. When its epoch ends, those
    /// who read it may read on, nobody joins them, and nothing is stored.
    async fn run(mut self) {
        loop {
            self.changes.borrow_and_update();
            if !self.ground.holds(&self.edge) {
                self.writer.give_up_storing();
            }
            let alone = self.goes_on_alone();
            let piece = tokio::select! {
                biased;
                Ok(()) = self.changes.changed() => continue,
                piece = self.body.next() => piece,
                () = given_up(&self.writer, alone) => return,
            };
            match piece {
                Ok(Some(piece)) => {
                    let length = piece.len() as u64;
                    self.received += length;
                    self.left = self.left.map(|left| left.saturating_sub(length));
                    if self.writer.write(piece).await.is_err() {
                        return;
                    }
                }
                Ok(None) => {
                    if !self.ground.holds(&self.edge) {
                        self.writer.give_up_storing();
                    }
                    let _ = self.writer.finish().await; // a wrong length has broken the fill: its readers know
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Until when the fill goes on if nobody reads it now, or stops reading it; `None`: not at all.
    fn goes_on_alone(&mut self) -> Option<Instant> {
        let since = Instant::from_std(clock::monotonic());
        let until = self.alone_until.unwrap_or(since + ALONE_MAX);
        self.alone_until = (self.writer.readers() == 0).then_some(until);
        self.is_worth_ending().then_some(until)
    }

    /// Whether the fill goes on when nobody reads it: little is left, or, where nobody knows, little has come. So a HEAD or a conditional
    /// request, which read nothing, fill the store like others.
    fn is_worth_ending(&self) -> bool {
        self.left.unwrap_or(self.received) <= self.edge.limits.orphan_fill
    }
}

/// Waits until nobody reads the fill, and until it may not go on alone any more.
async fn given_up(writer: &FillWriter, alone_until: Option<Instant>) {
    loop {
        writer.orphaned().await;
        let Some(until) = alone_until else { return };
        tokio::time::sleep_until(until).await;
        if writer.readers() == 0 {
            return;
        }
    }
}

/// Invalidates what an answered unsafe or unknown method made untrue (RFC 9111 §4.4): the target URI, and same-origin `Location` and
/// `Content-Location`. Called with every final answer to such a method, before it goes out to the client; then, where the request was a
/// POST whose answer may be stored, it is judged. What of it is kept.
pub async fn invalidate(
    edge: &Edge,
    site: &SiteRuntime,
    request: &Request,
    received: &Received,
    mut posted: Option<Posted>,
) -> Option<Gathering> {
    let named = edge.sites.find(request.host.as_str())?;
    let authority = match request.port {
        Some(port) => format!("{}:{port}", request.host.as_str()),
        None => request.host.as_str().to_owned(),
    };
    let target = Target {
        scheme: request.scheme,
        authority: &authority,
        path_and_query: std::str::from_utf8(&request.path_and_query).ok()?,
    };
    let Received { status, fields, .. } = received;
    for uri in invalidation::invalidated(&request.method, *status, target, fields) {
        let rules = &site.site.cache.key;
        let key = key::of(
            edge.cache.keys(),
            site.partition,
            rules,
            request.scheme,
            &named.host,
            &uri.into(),
        );
        let done = match &mut posted {
            Some(posted) => posted.posting().invalidate(&key).await,
            None => edge.cache.invalidate(&key).await.map(drop),
        };
        if let Err(error) = done {
            warn!("{}: not invalidated: {error}", request.host.as_str());
        }
    }
    posted?.answered(target, received, edge.clock.now())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jet9_cache::Scheme;
    use jet9_cache::stored::Parts;

    use super::*;
    use crate::origin::testing::TestNode;

    /// A fill with its one reader.
    fn begin(node: &TestNode) -> (FillWriter, Filling) {
        let cache = &node.edge.cache;
        let partition = cache.partition("s-1").unwrap();
        let path = Bytes::from_static(b"/");
        let key = cache
            .keys()
            .key(partition, Scheme::Http, "example.test".into(), path);
        let response = StoredResponse::assemble(Parts::default()).unwrap();
        cache.lead_apart(&key).begin(response, 0, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_fill_is_given_up_when_nobody_reads_it_for_too_long_or_at_once() {
        let node = TestNode::new(|_| {});
        let (writer, reader) = begin(&node);
        let start = Instant::now();
        let read_until = start + ALONE_MAX / 2;
        let reading = async {
            tokio::time::sleep_until(read_until).await;
            drop(reader);
        };
        tokio::join!(given_up(&writer, None), reading);
        assert_eq!(Instant::now(), read_until);
        given_up(&writer, Some(start + ALONE_MAX)).await;
        assert_eq!(Instant::now(), start + ALONE_MAX);
    }
}
