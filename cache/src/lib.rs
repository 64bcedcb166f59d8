//! HTTP caching: the rules of RFC 9111 as pure functions, and the store that keeps responses in memory and on disk.
//!
//! Called by `jet9-edge` alone. Two halves that meet in [`StoredResponse`]:
//!
//! * [`semantics`] decides (storable, fresh, valid, selected, invalidated). Every fact is an argument, `now` included.
//! * [`store`] keeps (memory, disk, fills in flight, purge). It knows keys, partitions and bytes, not HTTP policy.
//!
//! Knows nothing of Pingora, sockets, sites or clusters: a site is an opaque [`Partition`].
//! Invariants kept here: 3 (exact bytes), 4 (purge is for ever), 5 (`Set-Cookie`, `Authorization`), 9 (a bad disk costs hits only).

pub mod key;
pub mod reason;
pub mod semantics;
pub mod stored;
pub mod time;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub mod collapse;
mod device;
pub mod disk;
pub mod fill;
pub mod io;
mod lock;
pub mod memory;
pub mod metrics;
pub mod posted;
pub mod prediction;
pub mod purge;
pub mod store;
mod variant;

pub use key::{Key, KeyHasher, Partition, Scheme};
pub use reason::Reason;
pub use store::{Cache, CacheConfig, Hit, Lookup};
pub use stored::StoredResponse;
pub use time::Timestamp;

#[cfg(test)]
mod test_support;
