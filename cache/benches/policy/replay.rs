//! The store itself over the same traces: does it find what the bench of its decisions says?
//!
//! One visitor who waits for each answer, and asks again after a pause: what is on its way to the disk, late or lost is a miss here, as in
//! life. A volume of a real size has hundreds of segments; one that holds a tenth of a trace has eight to fifteen, so the decisions are
//! driven over a ring of the same division, too. What differs between the two has its causes printed: what the store counted.

#![expect(
    clippy::disallowed_methods,
    reason = "what was written is on disk some time later, by the clock on the wall"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use jet9_cache::collapse::Collapse;
use jet9_cache::disk::VolumeConfig;
use jet9_cache::semantics::vary::SelectingFields;
use jet9_cache::store::Tier;
use jet9_cache::stored::Parts;
use jet9_cache::{Cache, CacheConfig, Key, Lookup, Partition, Scheme, StoredResponse};
use prometheus::Registry;

use super::tiers::{self, Settings};
use super::{objects, s3fifo};

/// Bytes of content: with its head, and what rounds it up, 16 KiB on disk.
const CONTENT: usize = 15_872;
/// What one such response weighs in memory, about; how many are there is counted.
const WEIGHT: u64 = 16_500;
/// Bytes of a volume before its first segment, and of the smallest segment.
const SEGMENTS_START: u64 = 1 << 20;
const SEGMENT_BYTES_MIN: u64 = 2 << 20;
/// Segments above which they are made larger instead.
const SEGMENTS_MAX: usize = 15;
/// A record, and what a segment needs besides records: its header, the footer and the marks between records.
const RECORD: u64 = 16 << 10;
const OVERHEAD_SHARE: u64 = 128;
/// Both tiers together in percent of the objects of a trace; smaller ones do not fill the smallest volume.
const SIZES: [usize; 2] = [10, 20];
/// Memory in percent of both.
const MEMORY: usize = 10;

/// Prints what the store finds beside what its decisions find, with `pause` between an answer and the next request.
///
/// # Errors
/// When the store cannot be opened, or takes nothing.
pub(crate) fn print(traces: &[(String, Vec<u32>)], pause: Duration) -> Result<(), Box<dyn Error>> {
    println!(
        "\n| trace | both tiers | segments | in memory | S3-FIFO | 64 segments | decisions | from memory | store | from memory | took |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    for (name, trace) in traces {
        for percent in SIZES {
            let total = objects(trace) * percent / 100;
            row(&format!("{name} | {percent} %"), trace, total, pause)?;
        }
    }
    Ok(())
}

fn row(name: &str, trace: &[u32], total: usize, pause: Duration) -> Result<(), Box<dyn Error>> {
    let memory = (total * MEMORY / 100).max(1);
    let (segments, segment) = division(total - memory);
    let began = Instant::now();
    let found = Replay::open(segments, segment, memory)?.run(trace, pause)?;
    let took = began.elapsed().as_secs();
    let of_volume = Settings {
        memory: found.in_memory,
        segments,
        segment,
        all: false,
    };
    let of_row = Settings::of(memory, total - memory, false);
    let (decided, of_row) = (tiers::run(trace, &of_volume), tiers::run(trace, &of_row));
    let share = |count: usize| count as f64 / trace.len() as f64;
    println!(
        "| {name} | {segments} × {segment} | {} | {:.4} | {:.4} | {:.4} | {:.2} | {:.4} | {:.2} | {took} s |",
        found.in_memory,
        s3fifo::hit_ratio(trace, segments * segment + found.in_memory),
        of_row.hit_ratio,
        decided.hit_ratio,
        decided.from_memory,
        share(found.hits),
        share(found.from_memory),
    );
    println!("<!-- {} -->", found.counted.join(" "));
    Ok(())
}

/// The segments of the volume that holds so many records, and the records of each.
fn division(records: usize) -> (usize, usize) {
    let mut bytes = SEGMENT_BYTES_MIN;
    loop {
        let segment = ((bytes - bytes / OVERHEAD_SHARE) / RECORD) as usize;
        if records / segment <= SEGMENTS_MAX {
            return (records / segment, segment);
        }
        bytes *= 2;
    }
}

struct Found {
    hits: usize,
    from_memory: usize,
    /// Objects that memory held in the end.
    in_memory: usize,
    /// What the store counted.
    counted: Vec<String>,
}

struct Replay {
    cache: Arc<Cache>,
    registry: Registry,
    site: Partition,
    fields: HeaderMap,
    _directory: tempfile::TempDir,
}

impl Replay {
    fn open(segments: usize, segment: usize, memory: usize) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let registry = Registry::new();
        let bytes = (segment as u64 * RECORD).next_power_of_two();
        let volume = VolumeConfig {
            path: directory.path().join("disk"),
            size: SEGMENTS_START + segments as u64 * bytes,
        };
        let config = CacheConfig {
            data_dir: directory.path().join("data"),
            memory: memory as u64 * WEIGHT,
            disk: vec![volume],
            max_object: 1 << 20,
            fill_unflushed: 8 << 20,
        };
        let cache = Cache::open(config, &registry)?;
        let site = cache.partition("site")?;
        Ok(Self {
            cache,
            registry,
            site,
            fields: HeaderMap::new(),
            _directory: directory,
        })
    }

    fn run(&self, trace: &[u32], pause: Duration) -> Result<Found, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (hits, from_memory) = runtime.block_on(self.visit(trace, pause))?;
        Ok(Found {
            hits,
            from_memory,
            in_memory: self.in_memory(),
            counted: self.counted(),
        })
    }

    /// Hits, and those of them that memory answered.
    async fn visit(
        &self,
        trace: &[u32],
        pause: Duration,
    ) -> Result<(usize, usize), Box<dyn Error>> {
        self.cache.loaded().await;
        let (mut hits, mut from_memory) = (0, 0);
        for object in trace {
            let key = self.key(*object);
            match self.find(&key).await {
                Some(tier) => {
                    hits += 1;
                    from_memory += usize::from(tier == Tier::Memory);
                }
                None => self.fill(&key).await?,
            }
            if !pause.is_zero() {
                // The timer of a runtime has whole milliseconds.
                std::thread::sleep(pause);
            }
        }
        Ok((hits, from_memory))
    }

    fn key(&self, object: u32) -> Key {
        let path = Bytes::from(format!("/{object:06}"));
        let keys = self.cache.keys();
        keys.key(self.site, Scheme::Https, Arc::from("example.com"), path)
    }

    async fn find(&self, key: &Key) -> Option<Tier> {
        let selecting = SelectingFields::of(&self.fields);
        match self.cache.lookup(key, &selecting).await {
            Lookup::Hit(hit) => Some(hit.tier),
            Lookup::Miss | Lookup::VaryMiss => None,
        }
    }

    async fn fill(&self, key: &Key) -> Result<(), Box<dyn Error>> {
        let selecting = SelectingFields::of(&self.fields);
        let Collapse::Lead(mut lead) = self.cache.collapse(key, &selecting, None) else {
            return Err("somebody else fetches".into());
        };
        lead.sent();
        let head = StoredResponse::assemble(Parts::default()).map_err(|why| format!("{why:?}"))?;
        let (mut writer, filling) = lead.begin(head, 0, Some(CONTENT as u64));
        drop(filling);
        writer.write(Bytes::from(vec![7; CONTENT])).await?;
        Ok(writer.finish().await?)
    }

    /// Responses in memory, as the store counts them.
    fn in_memory(&self) -> usize {
        let counted = self.counted();
        let of_memory = counted
            .iter()
            .find_map(|one| one.strip_prefix("stored_responses{memory}="));
        of_memory.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// All that is not zero, as `name{label}=value`.
    fn counted(&self) -> Vec<String> {
        let mut counted = Vec::new();
        for family in self.registry.gather() {
            let name = family.name().trim_start_matches("jet9_cache_").to_owned();
            for metric in family.get_metric() {
                let labels: Vec<&str> = metric.get_label().iter().map(|l| l.value()).collect();
                let value = metric.get_counter().get_value() + metric.get_gauge().get_value();
                if value > 0.0 {
                    counted.push(format!("{name}{{{}}}={value}", labels.join(",")));
                }
            }
        }
        counted
    }
}
