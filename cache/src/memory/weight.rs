//! What does a stored response take in memory? True bytes: what the allocator adds and what no field shows is counted.
//!
//! Asked by the tier whenever it puts something in. Constants were measured with a million responses (`benches/memory.rs`, which prints
//! what is weighed beside what is resident). Nothing is walked on a hit.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::queues::Queues;
use super::shard::Held;
use crate::stored::StoredResponse;
use crate::variant::{Content, Variant};

/// What the allocator adds to a piece of memory, rounding included.
const ALLOCATION: usize = 16;
/// What a key takes in the map of its shard: 17 bytes in a table that is half full after it grew.
const MAP_ENTRY: usize = 36;
/// What an `Arc` keeps beside what it holds.
const COUNTS: usize = 16;
/// What a place for a field takes in a `HeaderMap`, besides the text of its value: an entry, and more than one index.
const FIELD: usize = 110;

/// The weight of a key with these variants.
pub(super) fn of(variants: &[Arc<Variant>]) -> u64 {
    let list = match variants {
        [_] => 0,
        many => ALLOCATION + COUNTS + size_of_val(many),
    };
    let variants: usize = variants.iter().map(|variant| of_variant(variant)).sum();
    (Queues::<Held>::ENTRY_BYTES + MAP_ENTRY + list + variants) as u64
}

fn of_variant(variant: &Variant) -> usize {
    let content = match &variant.content {
        // The bytes, their owner's count, and a copy that the allocator rounds up.
        Content::Whole(whole) => whole.len() + COUNTS + 2 * ALLOCATION,
        Content::Pieces(pieces) => {
            let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
            bytes + pieces.len() * (size_of_val(pieces) + COUNTS + 2 * ALLOCATION)
        }
        Content::OnDisk(content) => usize::try_from(content.weight()).unwrap_or(usize::MAX / 2),
    };
    let key = variant.key.path_and_query().len() + ALLOCATION;
    let tags = match variant.tags.len() {
        0 => 0,
        _ => size_of_val(&*variant.tags) + COUNTS + ALLOCATION,
    };
    let own = size_of::<Variant>() + COUNTS + ALLOCATION;
    own + of_response(&variant.response) + key + tags + content
}

fn of_response(response: &StoredResponse) -> usize {
    let own = size_of::<StoredResponse>() + COUNTS + ALLOCATION;
    let head = response.http1_head.len() + ALLOCATION;
    let maps = of_map(&response.fields) + of_map(&response.withheld);
    let tags: usize = response
        .tags
        .iter()
        .map(|tag| size_of_val(tag) + tag.len() + ALLOCATION)
        .sum();
    own + head + maps + tags + size_of_val(&*response.vary)
}

fn of_map(map: &HeaderMap) -> usize {
    let values: usize = map.values().map(HeaderValue::len).sum();
    let allocations = if map.capacity() == 0 {
        0
    } else {
        2 * ALLOCATION
    };
    map.capacity() * FIELD + allocations + values
}
