//! Parts out of every form in which content lies: whole, in pieces, on disk, in a fill in flight.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use jet9_cache::disk::VolumeConfig;
use jet9_cache::fill::{FillWriter, Filling};
use jet9_cache::semantics::range::{self, Selected};
use jet9_cache::semantics::request::{ReadMethod, RequestPolicy};
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::stored::{Parts, StoredResponse};
use jet9_cache::{Cache, CacheConfig, Key, Lookup, Scheme};
use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::origin::testing::TestNode;

const MIB: u64 = 1 << 20;
const RANGES: &str = "bytes=0-0, 1048570-1048585, 2097152-2097152, -7";

/// A store with one key, and its directory.
struct Bench {
    cache: Arc<Cache>,
    key: Key,
    _place: TempDir,
}

impl Bench {
    fn open(memory: u64, with_disk: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let volume = VolumeConfig {
            path: place.path().join("volume"),
            size: 64 * MIB,
        };
        let config = CacheConfig {
            data_dir: place.path().join("data"),
            memory,
            disk: if with_disk { vec![volume] } else { Vec::new() },
            max_object: 32 * MIB,
            fill_unflushed: 8 << 20,
        };
        let cache = Cache::open(config, &Registry::new()).unwrap();
        let partition = cache.partition("s-1").unwrap();
        let path = Bytes::from_static(b"/");
        let key = cache
            .keys()
            .key(partition, Scheme::Https, "example.test".into(), path);
        Self {
            cache,
            key,
            _place: place,
        }
    }

    fn begin(&self, length: usize) -> (FillWriter, Filling) {
        let response = StoredResponse::assemble(Parts::default()).unwrap();
        let fields = HeaderMap::new();
        let selecting = SelectingFields::of(&fields);
        let variant = selecting.hash(&response.vary, self.cache.keys());
        let lead = self.cache.lead_apart(&self.key);
        lead.begin(response, variant, Some(length as u64))
    }

    async fn stored(&self) -> Body {
        let fields = HeaderMap::new();
        let selecting = SelectingFields::of(&fields);
        match self.cache.lookup(&self.key, &selecting).await {
            Lookup::Hit(hit) => hit.body,
            other => panic!("{other:?}"),
        }
    }
}

/// No two neighbouring kilobytes are alike.
fn content(length: usize) -> Bytes {
    (0..length)
        .map(|at| ((at * 7 + at / 1009) % 251) as u8)
        .collect()
}

/// The parts that these ranges select.
fn selected(ranges: &str, length: usize) -> Vec<Part> {
    let fields = HeaderMap::from_iter([(http::header::RANGE, ranges.parse().unwrap())]);
    let node = TestNode::new(|_| {});
    let site = node.edge.sites.find("example.test").unwrap().site;
    let (rules, _) = site.rules_for("/");
    let policy = RequestPolicy::of(ReadMethod::Get, &fields, rules);
    let response = StoredResponse::assemble(Parts::default()).unwrap();
    match range::select(&policy, &fields, &response, length as u64) {
        Selected::Parts(parts) => parts,
        other => panic!("{other:?}"),
    }
}

fn framing(length: usize) -> Multipart {
    Multipart {
        boundary: "B".to_owned(),
        content_type: Some(HeaderValue::from_static("text/plain")),
        complete: length as u64,
    }
}

/// Reads parts of `body` and compares with the same parts of `all`.
async fn check(body: Body, ranges: &str, all: &Bytes) {
    let (parts, framing) = (selected(ranges, all.len()), framing(all.len()));
    let mut expected = Vec::new();
    for part in &parts {
        expected.extend(framing.before(*part));
        expected.extend(slice(all, *part));
    }
    expected.extend(framing.end());
    let mut reader = PartsReader::new(body, parts, framing);
    let announced = reader.remaining();
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(!piece.is_empty());
        read.extend(piece);
        assert_eq!(reader.remaining(), announced - read.len() as u64);
    }
    assert_eq!(read.len() as u64, announced);
    assert!(read == expected, "{ranges}");
}

#[tokio::test]
async fn parts_are_read_from_wherever_the_content_lies() {
    let length = 3 * 1024 * 1024 + 5;
    let all = content(length);
    check(Body::Whole(all.clone()), RANGES, &all).await;
    for (memory, with_disk) in [(64 * MIB, false), (MIB, true)] {
        let bench = Bench::open(memory, with_disk);
        bench.cache.loaded().await;
        let (mut writer, filling) = bench.begin(length);
        let reading = check(Body::Stream(filling.body), RANGES, &all);
        let writing = async {
            for start in (0..length).step_by(300_000) {
                let end = length.min(start + 300_000);
                writer.write(all.slice(start..end)).await.unwrap();
                tokio::task::yield_now().await;
            }
            writer.finish().await.unwrap();
        };
        tokio::join!(reading, writing);
        let backwards = "bytes=-7, 2097152-2097152, 5-9";
        for ranges in [RANGES, backwards] {
            let body = bench.stored().await;
            assert!(matches!(body, Body::Stream(_)));
            check(body, ranges, &all).await;
        }
        bench.cache.close().await;
    }
}

#[tokio::test]
async fn a_fill_that_breaks_off_breaks_its_parts() {
    let bench = Bench::open(16 * MIB, false);
    let (mut writer, filling) = bench.begin(10);
    let framing = framing(10);
    let body = Body::Stream(filling.body);
    let mut reader = PartsReader::new(body, selected("bytes=0-1,8-9", 10), framing);
    writer.write(Bytes::from_static(b"01234")).await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    assert_eq!(reader.next().await.unwrap().unwrap(), "01");
    assert!(reader.next().await.unwrap().is_some());
    drop(writer);
    assert_eq!(reader.next().await, Err(ReadError::Broken));
}
