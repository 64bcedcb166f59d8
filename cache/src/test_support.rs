//! What the store's tests share: keys, heads, content, and a store in a directory of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::collapse::{Collapse, Follower, Lead};
use crate::device::{Opener, RealFilesWith};
use crate::fill::{BodyReader, FillError, FillWriter, Filling, ReadError};
use crate::io::{Limits, Options};
use crate::key::{Key, Partition, Scheme};
use crate::semantics::vary::SelectingFields;
use crate::store::{Body, Cache, CacheConfig, Hit, Lookup};
use crate::stored::{Parts, StoredResponse, Times};
use crate::time::Timestamp;

/// A head that says `name` in a field, so that tests can tell versions apart.
pub(crate) fn response(name: &str, tags: &[&str], vary: &[&'static str]) -> StoredResponse {
    let mut fields = HeaderMap::new();
    fields.insert("x-name", HeaderValue::from_str(name).unwrap());
    for field in vary {
        fields.append("vary", HeaderValue::from_static(field));
    }
    let times = Times {
        request_time: Timestamp::from_unix_seconds(1),
        response_time: Timestamp::from_unix_seconds(1),
        initial_age: Duration::ZERO,
        lifetime: Duration::from_secs(60),
    };
    let tags = tags.iter().map(|tag| Box::from(*tag)).collect();
    StoredResponse::assemble(Parts {
        fields,
        times,
        tags,
        ..Parts::default()
    })
    .unwrap()
}

/// The name that [`response`] was given.
pub(crate) fn name(response: &StoredResponse) -> String {
    response.fields["x-name"].to_str().unwrap().to_owned()
}

/// `length` bytes that differ by `seed` and, every 4 KiB, by position.
pub(crate) fn content(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let block: Vec<u8> = (0..512).flat_map(|_| word()).collect();
    let mut bytes = Vec::with_capacity(length + block.len());
    while bytes.len() < length {
        let start = bytes.len();
        bytes.extend_from_slice(&block);
        bytes[start..start + 8].copy_from_slice(&start.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// A directory that goes with its value; in memory where there is such a place, since a sync there costs nothing.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A store and the site that the tests use.
pub(crate) struct Bench {
    pub(crate) cache: Arc<Cache>,
    pub(crate) site: Partition,
    /// Fields of the requests.
    pub(crate) fields: HeaderMap,
}

impl Bench {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the configuration has no other use afterwards"
    )]
    pub(crate) fn open(config: CacheConfig) -> Self {
        // A machine that does much else makes no disk late.
        let limits = Limits {
            read_deadline: Duration::from_secs(30),
            ..Limits::default()
        };
        let options = Options {
            limits,
            ..Options::default()
        };
        let files: Arc<dyn Opener> = Arc::new(RealFilesWith(options));
        let cache = Cache::open_on(&config, &prometheus::Registry::new(), &files).unwrap();
        let site = cache.partition("site").unwrap();
        Self {
            cache,
            site,
            fields: HeaderMap::new(),
        }
    }

    pub(crate) fn key(&self, path: &str) -> Key {
        let path = Bytes::copy_from_slice(path.as_bytes());
        self.cache
            .keys()
            .key(self.site, Scheme::Https, Arc::from("example.com"), path)
    }

    pub(crate) fn selecting(&self) -> SelectingFields<'_> {
        SelectingFields::of(&self.fields)
    }

    pub(crate) async fn lookup(&self, path: &str) -> Lookup {
        self.cache.lookup(&self.key(path), &self.selecting()).await
    }

    pub(crate) async fn hit(&self, path: &str) -> Option<Hit> {
        match self.lookup(path).await {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss | Lookup::VaryMiss => None,
        }
    }

    /// The name and content of what is stored.
    pub(crate) async fn stored(&self, path: &str) -> Option<(String, Bytes)> {
        let hit = self.hit(path).await?;
        let name = name(&hit.response);
        Some((name, read_body(hit.body).await.unwrap()))
    }

    pub(crate) fn collapse(&self, path: &str) -> Collapse {
        self.cache
            .collapse(&self.key(path), &self.selecting(), None)
    }

    /// Leads as one who knows what is in memory and wants it anew.
    pub(crate) fn lead(&self, path: &str) -> Lead {
        let (key, selecting) = (self.key(path), self.selecting());
        let seen = self
            .cache
            .lookup_memory(&key, &selecting)
            .map(|hit| hit.handle);
        match self.cache.collapse(&key, &selecting, seen.as_ref()) {
            Collapse::Lead(lead) => lead,
            Collapse::Follow(_) => panic!("{path} is being fetched already"),
        }
    }

    pub(crate) fn follow(&self, path: &str) -> Follower {
        match self.collapse(path) {
            Collapse::Follow(follower) => follower,
            Collapse::Lead(_) => panic!("{path} is not being fetched"),
        }
    }

    pub(crate) fn begin(
        &self,
        path: &str,
        response: StoredResponse,
        length: Option<u64>,
    ) -> (FillWriter, Filling) {
        let mut lead = self.lead(path);
        lead.sent();
        let variant = match &*response.vary {
            [] => 0,
            vary => self.selecting().hash(vary, self.cache.keys()),
        };
        lead.begin(response, variant, length)
    }

    pub(crate) async fn store(&self, path: &str, response: StoredResponse, content: Bytes) {
        self.try_store(path, response, content).await.unwrap();
    }

    /// The same where nothing may be stored because the disk fails.
    pub(crate) async fn try_store(
        &self,
        path: &str,
        response: StoredResponse,
        content: Bytes,
    ) -> Result<(), FillError> {
        let (mut writer, filling) = self.begin(path, response, Some(content.len() as u64));
        drop(filling);
        writer.write(content).await?;
        writer.finish().await
    }
}

impl Bench {
    /// Waits until everything stored is on disk, as the passing of half a second would do.
    pub(crate) async fn flushed(&self) {
        self.cache.flush_disk().await;
    }
}

pub(crate) fn memory_only(directory: &tempfile::TempDir) -> CacheConfig {
    CacheConfig {
        data_dir: directory.path().to_owned(),
        memory: 64 << 20,
        disk: Vec::new(),
        max_object: 1 << 30,
        fill_unflushed: 8 << 20,
    }
}

pub(crate) async fn read_body(body: Body) -> Result<Bytes, ReadError> {
    match body {
        Body::Whole(content) => Ok(content),
        Body::Stream(reader) => read_all(reader).await,
    }
}

pub(crate) async fn read_all(mut reader: BodyReader) -> Result<Bytes, ReadError> {
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty());
        content.extend_from_slice(&piece);
    }
    Ok(content.into())
}

/// Waits until so many volumes serve.
pub(crate) async fn in_service(metrics: &crate::metrics::Metrics, volumes: i64) {
    let gauge = metrics.volumes.with_label_values(&["in_service"]);
    let reached = async {
        while gauge.get() != volumes {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, reached).await.unwrap();
}
