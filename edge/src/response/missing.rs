//! What the disk does not give back of a stored content while it goes out: from the side, so that the transfer goes on.
//!
//! Offered by `story` with each long content, asked by the store's reader only if a part of it is gone, rotten or late. Asks for the range
//! under the condition that the content is still the same (RFC 9110 §13.1.5), and takes a 206 for exactly that range of a content of this
//! length and this strong validator (§14.4, §15.3.7). Anything else breaks the transfer, as it would have broken without. Knows nothing of
//! framing: what was announced is not touched. Invariant 3.

use std::future::pending;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE,
};
use http::{Method, StatusCode};
use jet9_cache::fill::{Elsewhere, Fetched};
use jet9_cache::semantics::entity_tag::EntityTag;
use jet9_cache::store::{Body, Hit};

use crate::clock;
use crate::control::purge;
use crate::control::sites::SiteRuntime;
use crate::exchange::Exchange;
use crate::message::Request;
use crate::origin::fetch::{self, OriginAnswer, Purpose};
use crate::parts::Edge;
use crate::request::client::Client;

/// Offers the side to the reader of a content on disk, if its stored response has what a part can be asked for by.
pub fn offer(
    edge: &Arc<Edge>,
    exchange: &mut Exchange,
    request: &Request,
    site: &Arc<SiteRuntime>,
    hit: &mut Hit,
) {
    let response = &hit.response;
    let Body::Stream(reader) = &mut hit.body else {
        return;
    };
    let (Some(etag), Some(complete)) = (&response.validators.etag, reader.length()) else {
        return;
    };
    let is_whole = request.method == Method::GET && response.status == StatusCode::OK;
    if !reader.is_on_disk() || !is_whole || !are_strongly(etag, etag) {
        return;
    }
    let side = Side {
        edge: Arc::clone(edge),
        site: Arc::clone(site),
        client: Arc::clone(&exchange.client),
        request_id: exchange.request_id.clone(),
        request: request.clone(),
        asked: Arc::clone(exchange.parts.get_or_insert_default()),
        etag: etag.clone(),
        encoding: response.fields.get(CONTENT_ENCODING).cloned(),
        complete,
    };
    reader.offer(Arc::new(Missing(Arc::new(side))));
}

/// Where a content came from, and what it is known by.
#[derive(Debug)]
struct Side {
    edge: Arc<Edge>,
    site: Arc<SiteRuntime>,
    client: Arc<Client>,
    request_id: String,
    /// The request that the content goes out for.
    request: Request,
    /// Counts the parts that were asked for, for the record of the exchange.
    asked: Arc<AtomicU32>,
    /// A strong one.
    etag: HeaderValue,
    encoding: Option<HeaderValue>,
    /// Bytes of the whole content.
    complete: u64,
}

#[derive(Debug)]
struct Missing(Arc<Side>);

impl Elsewhere for Missing {
    fn fetch(&self, range: Range<u64>) -> Fetched {
        let side = Arc::clone(&self.0);
        Box::pin(async move { side.fetch(range).await })
    }
}

impl Side {
    async fn fetch(&self, range: Range<u64>) -> Option<Bytes> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let last = range.end.checked_sub(1)?;
        let asked = format!("bytes={}-{last}", range.start);
        let conditional = HeaderMap::from_iter([
            (RANGE, HeaderValue::try_from(asked).ok()?),
            (IF_RANGE, self.etag.clone()),
        ]);
        let mut exchange = Exchange::begin(
            Arc::clone(&self.client),
            self.request_id.clone(),
            clock::monotonic(),
            self.edge.clock.now(),
        );
        let purpose = Purpose {
            conditional: &conditional,
            for_storing: true,
            unwanted: pin!(pending()),
            tell: &mut |_| {},
        };
        let fetched = fetch::fetch(
            &self.edge,
            &mut exchange,
            &self.request,
            &self.site,
            purpose,
        );
        let answer = fetched.await.ok()?;
        purge::by_response(&self.edge, &self.site, &self.request, &answer.fields).await;
        let content_range = format!("bytes {}-{last}/{}", range.start, self.complete);
        if !self.is_same(&answer, &content_range) {
            return None;
        }
        collected(answer, usize::try_from(range.end - range.start).ok()?).await
    }

    /// Whether an answer is exactly this part of the content that goes out.
    fn is_same(&self, answer: &OriginAnswer, content_range: &str) -> bool {
        let fields = &answer.fields;
        let has_range = fields.get(CONTENT_RANGE);
        let etag = fields.get(ETAG);
        // It need not be repeated (RFC 9110 §15.3.7); another one is another content.
        let encoding = fields.get(CONTENT_ENCODING);
        answer.status == StatusCode::PARTIAL_CONTENT
            && has_range.is_some_and(|range| range.as_bytes() == content_range.as_bytes())
            && etag.is_some_and(|etag| are_strongly(etag, &self.etag))
            && (encoding.is_none() || encoding == self.encoding.as_ref())
    }
}

/// Whether two validators are strong and equal.
fn are_strongly(one: &HeaderValue, other: &HeaderValue) -> bool {
    let tags = [one, other].map(|value| EntityTag::parse(value.as_bytes()));
    matches!(tags, [Some(one), Some(other)] if one.is_strongly(other))
}

/// The content of an answer, if it has this many bytes.
async fn collected(mut answer: OriginAnswer, length: usize) -> Option<Bytes> {
    let mut content = BytesMut::with_capacity(length);
    while let Some(piece) = answer.body.next().await.ok()? {
        if content.len() + piece.len() > length {
            return None;
        }
        content.extend_from_slice(&piece);
    }
    (content.len() == length).then(|| content.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::testing::{Act, ScriptedSide, TestNode};
    use crate::request::guard;

    const HEAD: &str = "HTTP/1.1 206 P\r\nConnection: close\r\n";

    /// A side that answers with this, and who asks it for the bytes 2 to 4 of ten.
    async fn asker(answer: String) -> (ScriptedSide, TestNode, Missing) {
        let scripted = ScriptedSide::play(vec![vec![Act::Answer(answer.leak())]]);
        let node = TestNode::new(|_| {});
        let serving = r#""phase":"serving","master":"a""#;
        node.publish(7, serving, scripted.addr, scripted.addr).await;
        let head = "GET /a?b HTTP/1.1\r\nHost: example.test\r\nRange: bytes=0-8\r\nIf-None-Match: \"x\"\r\n\r\n";
        let client = Arc::new(Client::edge());
        let parsed = guard::parse_http1(head.into(), client.scheme(), &node.edge.limits);
        let side = Side {
            edge: Arc::clone(&node.edge),
            site: node.edge.sites.by_id("s-1").unwrap(),
            client,
            request_id: "id".to_owned(),
            request: parsed.unwrap().request,
            asked: Arc::default(),
            etag: HeaderValue::from_static("\"a\""),
            encoding: Some(HeaderValue::from_static("gzip")),
            complete: 10,
        };
        (scripted, node, Missing(Arc::new(side)))
    }

    /// What is taken of this answer, and what the side was asked.
    async fn told(answer: String) -> (Option<Bytes>, String) {
        let (scripted, _node, missing) = asker(answer).await;
        let fetched = missing.fetch(2..5).await;
        (fetched, scripted.requests().remove(0).to_ascii_lowercase())
    }

    #[tokio::test]
    async fn a_part_is_taken_only_if_it_is_exactly_the_missing_one_of_the_same_content() {
        let good = "ETag: \"a\"\r\nContent-Range: bytes 2-4/10\r\n";
        for (fields, content, is_taken) in [
            (good, "Content-Length: 3\r\n\r\n234", true),
            (
                good,
                "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n234",
                true,
            ),
            (
                good,
                "Transfer-Encoding: chunked\r\n\r\n3\r\n234\r\n0\r\n\r\n",
                true,
            ),
            (
                good,
                "Content-Encoding: br\r\nContent-Length: 3\r\n\r\n234",
                false,
            ),
            (good, "Content-Length: 3\r\n\r\n23", false),
            (good, "Content-Length: 2\r\n\r\n23", false),
            (
                good,
                "Transfer-Encoding: chunked\r\n\r\n4\r\n2345\r\n0\r\n\r\n",
                false,
            ),
            (
                "Content-Range: bytes 2-4/10\r\n",
                "Content-Length: 3\r\n\r\n234",
                false,
            ),
            (
                "ETag: W/\"a\"\r\nContent-Range: bytes 2-4/10\r\n",
                "Content-Length: 3\r\n\r\n234",
                false,
            ),
            (
                "ETag: \"b\"\r\nContent-Range: bytes 2-4/10\r\n",
                "Content-Length: 3\r\n\r\n234",
                false,
            ),
            (
                "ETag: \"a\"\r\nContent-Range: bytes 2-4/11\r\n",
                "Content-Length: 3\r\n\r\n234",
                false,
            ),
            (
                "ETag: \"a\"\r\nContent-Range: bytes 3-5/10\r\n",
                "Content-Length: 3\r\n\r\n345",
                false,
            ),
            ("ETag: \"a\"\r\n", "Content-Length: 3\r\n\r\n234", false),
        ] {
            let (fetched, _) = told(format!("{HEAD}{fields}{content}")).await;
            let expected = is_taken.then_some(&b"234"[..]);
            assert_eq!(fetched.as_deref(), expected, "{fields}{content}");
        }
        for status in ["200 OK", "416 R", "503 S", "304 N"] {
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\n{good}Content-Length: 3\r\n\r\n234"
            );
            assert_eq!(told(answer).await.0, None, "{status}");
        }
    }

    #[tokio::test]
    async fn the_side_is_asked_for_the_part_of_the_same_content_and_for_nothing_else() {
        let answer = format!("{HEAD}Content-Length: 0\r\n\r\n");
        let (_, request) = told(answer).await;
        let lines = |name: &str| {
            let lines = request.lines().filter(|line| line.starts_with(name));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(request.starts_with("get /a?b http/1.1\r\n"), "{request}");
        assert_eq!(lines("range:"), ["range: bytes=2-4"]);
        assert_eq!(lines("if-"), ["if-range: \"a\""]);
    }

    #[tokio::test]
    async fn what_the_side_orders_with_a_part_is_purged() {
        let orders = "X-LiteSpeed-Purge: *\r\nContent-Length: 0\r\n\r\n";
        let (_scripted, node, missing) = asker(format!("{HEAD}{orders}")).await;
        assert_eq!(missing.fetch(2..5).await, None);
        assert_eq!(missing.0.asked.load(Ordering::Relaxed), 1);
        assert_eq!(node.edge.cache.purge_sequence(), 1);
    }
}
