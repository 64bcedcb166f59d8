//! What the store's tests share: keys, heads, content, and a store in a directory of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::collapse::{Collapse, Follower, Lead};
use crate::fill::{BodyReader, FillWriter, Filling, ReadError};
use crate::key::{Key, Partition, Scheme};
use crate::semantics::vary::SelectingFields;
use crate::store::{Body, Cache, CacheConfig, Hit, Lookup};
use crate::stored::{Reuse, StoredResponse, Times, Validators};
use crate::time::Timestamp;

/// A head that says `name` in a field, so that tests can tell versions apart.
pub(crate) fn response(name: &str, tags: &[&str], vary: &[&'static str]) -> StoredResponse {
    let mut fields = HeaderMap::new();
    fields.insert("x-name", HeaderValue::from_str(name).unwrap());
    StoredResponse {
        status: StatusCode::OK,
        http1_head: Bytes::from(format!("HTTP/1.1 200 OK\r\nx-name: {name}\r\n")),
        fields,
        times: Times {
            request_time: Timestamp::from_unix_seconds(1),
            response_time: Timestamp::from_unix_seconds(1),
            initial_age: Duration::ZERO,
            lifetime: Duration::from_secs(60),
        },
        reuse: Reuse::default(),
        validators: Validators::default(),
        vary: vary
            .iter()
            .map(|name| HeaderName::from_static(name))
            .collect(),
        tags: tags.iter().map(|tag| Box::from(*tag)).collect(),
    }
}

/// The name that [`response`] was given.
pub(crate) fn name(response: &StoredResponse) -> String {
    response.fields["x-name"].to_str().unwrap().to_owned()
}

/// `length` bytes that differ by `seed` and position.
pub(crate) fn content(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// A store and the site that the tests use.
pub(crate) struct Bench {
    pub(crate) cache: Arc<Cache>,
    pub(crate) site: Partition,
    /// Fields of the requests.
    pub(crate) fields: HeaderMap,
}

impl Bench {
    pub(crate) fn open(config: CacheConfig) -> Self {
        let cache = Cache::open(config, &prometheus::Registry::new()).unwrap();
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

    pub(crate) fn lead(&self, path: &str) -> Lead {
        match self.collapse(path) {
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
        let (mut writer, filling) = self.begin(path, response, Some(content.len() as u64));
        drop(filling);
        writer.write(content).await.unwrap();
        writer.finish().await.unwrap();
    }
}

pub(crate) fn memory_only(directory: &tempfile::TempDir) -> CacheConfig {
    CacheConfig {
        data_dir: directory.path().to_owned(),
        memory: 64 << 20,
        disk: Vec::new(),
        max_object: 1 << 30,
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
