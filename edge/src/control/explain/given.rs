//! What would become of an answer that the side gives, or of none: a question may bring one, and is told what only the answer can tell.
//!
//! Called by [`super`] where a request would be fetched or passed through. The answer goes through what a side's goes through: `origin::receive`,
//! [`verdict`], and the story's own [`course::turn`]. It comes at once, under the epoch that is the highest now. Nothing is stored, learned or
//! purged by it.

use http::{HeaderMap, Method, StatusCode, Version};
use jet9_cache::semantics::request::{ReadMethod, RequestPolicy};
use jet9_cache::semantics::storable::TimesOfExchange;
use jet9_cache::{Reason, StoredResponse};
use serde_json::{Value, json};

use crate::control::sites::SiteRuntime;
use crate::exchange::Exchange;
use crate::message::Request;
use crate::origin::receive::{self, Received};
use crate::parts::Edge;
use crate::request::lookup::{Asking, Stored};
use crate::response::deliver;
use crate::response::fault::{Fault, OriginFault};
use crate::response::verdict::{self, Answered, Fetched, Kept, Verdict};
use crate::story::course::{self, Brought, Turn};

/// What a question says of the side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It cannot be reached.
    None,
    /// It answers with this.
    Answer {
        /// The final status.
        status: StatusCode,
        /// The fields as the side sends them.
        fields: HeaderMap,
    },
}

/// What became of a given answer.
#[derive(Debug)]
pub(super) enum Heard {
    /// This; the reason is in the exchange.
    Decided(Value),
    /// The side would be asked once more, without conditions.
    AskedAgain,
    /// The request fails.
    Failed(Fault),
}

impl Given {
    /// The answer as it may be trusted; a fault where there is none.
    pub(super) fn received(&self, site: &SiteRuntime, method: &Method) -> Result<Received, Fault> {
        let Self::Answer { status, fields } = self else {
            return Err(Fault::Origin(OriginFault::ConnectRefused));
        };
        let asked = receive::Asked {
            method,
            unknown_coding: site.site.origin.unknown_transfer_coding,
        };
        receive::judge(Version::HTTP_11, *status, fields.clone(), asked)
            .map_err(|rule| Fault::Origin(OriginFault::Malformed(rule)))
    }

    /// What becomes of a request that is fetched for the store, and notes it in the exchange.
    pub(super) fn heard(
        &self,
        edge: &Edge,
        exchange: &mut Exchange,
        request: &Request,
        asking: &Asking<'_>,
        stale: Option<&Stored>,
    ) -> Heard {
        let (brought, fault, said) = match self.received(asking.site, &Method::GET) {
            Err(fault) => (Brought::Failure, fault, json!({})),
            Ok(received) => match verdict_on(edge, request, asking, stale, &received) {
                Verdict::OfSomethingElse => return Heard::AskedAgain,
                Verdict::Unasked(rule) => {
                    let fault = Fault::Origin(OriginFault::Malformed(rule));
                    (Brought::Failure, fault, json!({}))
                }
                verdict => {
                    let brought = brought(request, asking, &received, &verdict);
                    // What fails though it was answered is what a stored response stands for.
                    (
                        brought,
                        Fault::Origin(OriginFault::Closed),
                        describe(&verdict),
                    )
                }
            },
        };
        let turn = course::turn(exchange, brought, stale, edge.limits.orphan_fill);
        if turn == Turn::Fails {
            return Heard::Failed(fault);
        }
        let mut said = said;
        said["becomes"] = word(turn).into();
        Heard::Decided(said)
    }
}

fn verdict_on(
    edge: &Edge,
    request: &Request,
    asking: &Asking<'_>,
    stale: Option<&Stored>,
    received: &Received,
) -> Verdict {
    let now = edge.clock.now();
    // As a fill asks.
    let policy = RequestPolicy {
        method: ReadMethod::Get,
        ..asking.policy
    };
    let stale = stale.map(Stored::to_validate);
    let fetched = Fetched {
        edge,
        site: asking.site,
        path: request.path(),
        policy: &policy,
        stale: stale.as_ref(),
    };
    let answered = Answered {
        status: received.status,
        fields: &received.fields,
        length: received.length,
        times: TimesOfExchange {
            request_time: now,
            response_time: now,
        },
        in_epoch: true,
    };
    verdict::of(fetched, answered)
}

fn brought(
    request: &Request,
    asking: &Asking<'_>,
    received: &Received,
    verdict: &Verdict,
) -> Brought {
    let status = received.status;
    match verdict {
        Verdict::Stored(response) => Brought::Filling {
            status,
            awaited: deliver::awaited(request, &asking.policy, response, received.length, 0),
        },
        Verdict::Confirmed(..) => Brought::Confirmed,
        Verdict::Alone(why) => Brought::Alone {
            status,
            why: *why,
            offers_range: deliver::offers_range(&asking.policy, status, &received.fields),
        },
        Verdict::Failure | Verdict::OfSomethingElse | Verdict::Unasked(_) => Brought::Failure,
    }
}

fn describe(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Stored(response) | Verdict::Confirmed(response, Kept::Yes | Kept::AsItWas) => {
            of_stored(response)
        }
        Verdict::Confirmed(_, Kept::No(why)) | Verdict::Alone(why) => {
            json!({ "why": why.as_str() })
        }
        Verdict::Failure => json!({ "why": Reason::Status.as_str() }),
        Verdict::OfSomethingElse | Verdict::Unasked(_) => json!({}),
    }
}

fn of_stored(response: &StoredResponse) -> Value {
    json!({
        "lifetime": response.times.lifetime.as_secs(),
        "vary": super::vary(response),
        "tags": response.tags,
    })
}

const fn word(turn: Turn) -> &'static str {
    match turn {
        Turn::ReadAlong => "stored",
        Turn::Confirmed => "confirmed",
        Turn::Stale => "stale-in-its-place",
        Turn::Alone => "alone",
        Turn::ToSide => "passed-through",
        Turn::Fails => "failed",
    }
}
