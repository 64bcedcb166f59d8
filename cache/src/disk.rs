//! The disk tier: on each volume a ring of segments with checksummed records, and an index of 16 bytes a record in memory.
//!
//! Used by `store` (find, read, write) and by fills (pieces of long content). A key lives on one volume, chosen by hash among those in
//! service. Everything that fails here costs a hit and is counted; nothing of it reaches a visitor. Invariants 3 (exact bytes) and 9 (a
//! bad disk costs hits only), and: of two versions of a response the older is never found once the newer was committed, nor after a
//! restart if the newer had been on disk for the flush time.

pub mod admission;
pub mod allowance;
mod catalog;
mod claim;
mod content;
mod footer;
mod forgotten;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod ghost;
pub mod index;
pub mod inspect;
mod keeper;
mod lap;
mod mount;
mod peers;
mod pending;
mod piece;
mod record;
mod recovery;
pub mod reinsertion;
#[doc(hidden)]
pub mod sample;
mod segment;
pub mod shares;
mod superblock;
mod ticket;
mod turnover;
mod variants;
mod volume;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use log::error;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::device::Opener;
use crate::key::{Key, Partition};
use crate::metrics::Metrics;
use crate::purge::{Purges, Tick, Verdict};
use crate::semantics::vary::{Selecting, SelectingFields};
use crate::variant::{Content, Variant};

use admission::{Admission, Moment, Policy, WhyNot};
use catalog::Candidate;
pub(crate) use claim::{Claim, OnDisk};
pub(crate) use content::{DiskContent, DiskReader, Failed, Pinned};
use ghost::Sign;
use index::slot::{Address, Slot};
use keeper::{Bell, Keeper, Mounts};
pub(crate) use mount::Mount;
use mount::{Head, Shelf};
use peers::score;
pub(crate) use record::Location;
use record::{Place, record_bytes};
use shares::{Quota, Shares, Standing};
use variants::{Family, Filed, variant_of, vary_of};
use volume::{Shared, Volume};

/// Content up to this many bytes lies in the head record itself: one read gets it all.
const INLINE_MAX: u64 = 256 << 10;
/// The largest content that is stored: the list of its pieces still fits a record.
const CONTENT_MAX: u64 = 64 << 30;
/// The share of a volume that one stored response may take: a larger one would push out its own beginning.
const VOLUME_SHARE: u64 = 4;

/// One volume: a directory with a preallocated file in it.
#[derive(Clone, Debug)]
pub struct VolumeConfig {
    /// The directory.
    pub path: PathBuf,
    /// Bytes that the volume may take, everything counted.
    pub size: u64,
}

/// The disk tier of a store; without volumes it finds nothing and takes nothing.
#[derive(Debug)]
pub(crate) struct Disk {
    mounts: Arc<Mounts>,
    purges: Arc<Purges>,
    shares: Arc<Shares>,
    /// What partitions want written, where that is not the default.
    policies: RwLock<HashMap<Partition, Policy>>,
    /// Bytes of the smallest volume.
    smallest: u64,
    loaded: watch::Sender<bool>,
    /// `None` without volumes.
    #[cfg_attr(not(test), expect(dead_code, reason = "it ends with the store"))]
    keeper: Option<Keeper>,
}

/// What a look-up on disk found.
#[derive(Debug)]
pub(crate) enum Found {
    Variant(Arc<Variant>),
    /// The key is known, but no variant is selected.
    OtherVariants,
    Nothing,
}

impl Disk {
    /// Opens the volumes and begins a session; those that cannot be used are logged, counted and tried again every minute. Their indexes
    /// are loaded in the background.
    ///
    /// # Errors
    /// When the session could not be begun, or a thread not be started.
    pub(crate) fn open(
        configs: &[VolumeConfig],
        session: u128,
        purges: &Arc<Purges>,
        files: &Arc<dyn Opener>,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let shared = Shared {
            files: Arc::clone(files),
            purges: Arc::clone(purges),
            metrics: metrics.clone(),
            bell: Arc::new(Bell::new(configs.len(), metrics.clone())),
            shares: Arc::default(),
            session,
        };
        let volumes = open_volumes(configs, &shared);
        let open = volumes.iter().flatten();
        let smallest = open.map(|volume| volume.geometry.bytes()).min();
        purges.begin_session(session)?;
        let mut list = Vec::new();
        for volume in volumes {
            list.push(volume.map(Mount::start).transpose()?.map(Arc::new));
        }
        let mounts = Arc::new(Mounts::new(list));
        let loaded = watch::Sender::new(configs.is_empty());
        let keeper = if configs.is_empty() {
            None
        } else {
            Some(Keeper::start(&mounts, configs, &shared, loaded.clone())?)
        };
        Ok(Self {
            mounts,
            purges: Arc::clone(purges),
            shares: shared.shares,
            policies: RwLock::default(),
            smallest: smallest.unwrap_or(0),
            loaded,
            keeper,
        })
    }

    pub(crate) fn is_loaded(&self) -> bool {
        *self.loaded.borrow()
    }

    pub(crate) async fn loaded(&self) {
        // The sender lives in `self`.
        drop(self.loaded.subscribe().wait_for(|loaded| *loaded).await);
    }

    /// Whether there is a volume in service.
    pub(crate) fn is_present(&self) -> bool {
        !self.mounts.online().is_empty()
    }

    /// What tells the birth of the oldest record on disk, [`Tick::FOREVER`] without any; `None` while that is not known.
    pub(crate) fn oldest(&self) -> impl Fn() -> Option<Tick> + Send + 'static {
        let mounts = Arc::clone(&self.mounts);
        move || mounts.oldest()
    }

    /// The largest content that every volume takes, in bytes; 0 without one.
    pub(crate) fn content_max(&self) -> u64 {
        (self.smallest / VOLUME_SHARE).min(CONTENT_MAX)
    }

    /// Whether anything is stored under a primary key, or may be.
    pub(crate) fn may_have(&self, primary: u128) -> bool {
        let of_key = self.mount_of(primary);
        of_key.is_some_and(|mount| {
            !mount.volume().is_loaded() || mount.volume().catalog.may_have(primary)
        })
    }

    /// Whether exactly this version is on disk, and the newest there.
    pub(crate) fn holds(&self, variant: &Variant) -> bool {
        let Some(mount) = self.mount_of(variant.key.primary()) else {
            return false;
        };
        let address = Address::of_offset(variant.on_disk.offset());
        let filed = self.filed(variant);
        address.is_some_and(|address| mount.volume().catalog.holds(filed, address))
    }

    /// Finds a response no more whose content cannot be read.
    pub(crate) fn forget(&self, variant: &Variant) {
        let address = Address::of_offset(variant.on_disk.offset());
        if let (Some(mount), Some(address)) = (self.mount_of(variant.key.primary()), address) {
            mount.volume().catalog.forget(self.filed(variant), address);
        }
    }

    /// The newest stored response on disk that a request selects; content up to `whole_max` bytes comes with it.
    pub(crate) async fn find(
        &self,
        key: &Key,
        selecting: &SelectingFields<'_>,
        whole_max: u64,
    ) -> Found {
        let Some(mount) = self.mount_of(key.primary()) else {
            return Found::Nothing;
        };
        let catalog = &mount.volume().catalog;
        if !mount.volume().is_loaded() {
            return Found::Nothing;
        }
        let place = (key.primary(), key.partition());
        let keys = self.purges.keys();
        let mut newest: Option<(Filed, Arc<Variant>)> = None;
        for candidate in catalog.candidates(place, selecting, keys) {
            let (filed, variant) = match candidate {
                Candidate::OnItsWay(filed, variant) => (filed, variant),
                Candidate::Record(filed, slot) => match self.read(&mount, key, filed, slot).await {
                    Head::Is(variant) => (filed, Arc::new(variant)),
                    Head::IsNot => continue,
                    // It may be the newest.
                    Head::Unknown => return Found::Nothing,
                },
            };
            let mut selected = Selecting::new(*selecting, keys);
            let is_newer = |other: &(_, Arc<Variant>)| other.1.version < variant.version;
            if variant.key.is_same(key)
                && variant.is_selected(&mut selected)
                && newest.as_ref().is_none_or(is_newer)
            {
                newest = Some((filed, variant));
            }
        }
        if let Some((filed, variant)) = newest {
            if let Some(address) = Address::of_offset(variant.on_disk.offset()) {
                catalog.count_hit(filed, address);
            }
            let whole = mount.fetch_whole(variant, whole_max).await;
            return whole.map_or(Found::Nothing, Found::Variant);
        }
        match catalog.family(key.primary()) {
            Family::Varies => Found::OtherVariants,
            Family::Plain | Family::None => Found::Nothing,
        }
    }

    /// Reads the record of a slot, if it can be worth it.
    async fn read(&self, mount: &Arc<Mount>, key: &Key, filed: Filed, slot: Slot) -> Head {
        // Most of what was purged is known without a look at it. It stays until it is replaced.
        let known = Variant::facts_of(key, &[]);
        if self.purges.judge(&known, Tick(slot.birth.tick())) == Verdict::Dead
            || !mount.volume().is_own(key.primary(), slot.address)
        {
            return Head::IsNot;
        }
        mount.read_head(filed, slot, &self.purges).await
    }

    /// Whether a disk hit may go into memory: it is still what is on disk, or on its way there. Notes whether it has rivals.
    pub(crate) fn may_promote(&self, variant: &Variant) -> bool {
        let primary = variant.key.primary();
        let Some(mount) = self.mount_of(primary) else {
            return false;
        };
        let (filed, catalog) = (self.filed(variant), &mount.volume().catalog);
        let has_rivals = catalog.has_rivals(filed, variant.key.partition());
        variant.has_rivals.store(has_rivals, Ordering::Relaxed);
        let address = Address::of_offset(variant.on_disk.offset());
        catalog.has(filed, variant.version, address)
    }

    /// Whether what is in memory is for sure the newest that a request selects (RFC 9111 §4): what was committed there is, and what came
    /// from disk unless there is another that may be.
    pub(crate) fn is_newest_for(&self, variant: &Variant, selecting: &SelectingFields<'_>) -> bool {
        if !variant.has_rivals.load(Ordering::Relaxed) {
            return true;
        }
        let Some(mount) = self.mount_of(variant.key.primary()) else {
            return true;
        };
        let (filed, partition) = (self.filed(variant), variant.key.partition());
        let (catalog, keys) = (&mount.volume().catalog, self.purges.keys());
        !catalog.has_rivals_for(filed, partition, selecting, keys)
    }

    /// Takes the place of a response that was committed for its newest version: from now on nothing older is found on disk. `None`
    /// when a newer one has it, or there is no volume.
    pub(crate) fn claim(&self, variant: &Arc<Variant>) -> Option<Claim> {
        let mount = self.mount_of(variant.key.primary())?;
        let vary = self.vary_of(variant);
        let partition = variant.key.partition();
        let catalog = &mount.volume().catalog;
        catalog.learn(partition, vary, &variant.response.vary);
        let claim = Claim::of(mount.volume(), self.filed(variant), variant);
        claim.filter(|claim| self.is_still_on(claim, variant))
    }

    /// Whether a key has not moved to a volume that came into service while a claim was made: the claim would not know.
    fn is_still_on(&self, claim: &Claim, variant: &Variant) -> bool {
        let mount = self.mount_of(variant.key.primary());
        mount.is_some_and(|mount| Arc::ptr_eq(mount.volume(), claim.volume()))
    }

    /// Sets what a partition may take of the disk from now on.
    pub(crate) fn set_quota(&self, partition: Partition, quota: Quota) {
        self.shares.set_quota(partition, quota);
    }

    /// Bytes that the records of a partition take.
    pub(crate) fn taken_by(&self, partition: Partition) -> u64 {
        self.shares.live(partition)
    }

    /// Whether content of `length` bytes would take a partition above its cap.
    pub(crate) fn is_capped(&self, partition: Partition, length: u64) -> bool {
        self.shares.standing(partition, length) == Standing::Capped
    }

    /// Sets what a partition wants written from now on.
    pub(crate) fn set_policy(&self, partition: Partition, policy: Policy) {
        self.policies.write().insert(partition, policy);
    }

    /// A response was fetched whole: that allows some of its bytes to be written, of this one or of others.
    pub(crate) fn fetched(variant: &Variant, claim: &Claim) {
        let volume = claim.volume();
        if volume.has_wrapped() {
            let head = variant.response.http1_head.len() as u64;
            let bytes = record_bytes(head + variant.content.length());
            volume.allowance.earn(bytes);
        }
    }

    /// Whether a response that was just fetched or freshened goes to disk. Long content is there already: it goes as it comes.
    pub(crate) fn admits_fill(&self, variant: &Variant, claim: &Claim) -> bool {
        let volume = claim.volume();
        if variant.content.is_on_disk() {
            return true;
        }
        let primary = variant.key.primary();
        let ghost = volume.catalog.ghost();
        let recalled = ghost.recall(primary);
        let decided = self.decide(variant, claim, Moment::Fill { recalled });
        if decided == Admission::Leave(WhyNot::Unused) {
            ghost.remember(primary, Sign::after(recalled));
        }
        matches!(decided, Admission::Write(_))
    }

    /// Counts a hit in memory of what is not on disk, and hands it in when that makes it worth the disk: `has_waited`, when it did not
    /// follow at once. Without waiting. Whether it was handed in.
    pub(crate) fn hit_in_memory(&self, variant: &Arc<Variant>, has_waited: bool) -> bool {
        let (Some(_), Content::Whole(whole)) = (variant.on_disk.count_hit(), &variant.content)
        else {
            return false;
        };
        if !has_waited {
            return false;
        }
        let Some(mount) = self.mount_of(variant.key.primary()) else {
            return false;
        };
        // A little later is early enough; and without an allowance no hit would be, so nothing is claimed for each of them.
        let is_time = mount.volume().allowance.is_left() && mount.shelf.sink.has_room();
        is_time && self.hand_in(&mount, variant, whole, Moment::MemoryHit)
    }

    /// Hands in what was hit in memory and is nowhere else, when the store closes. Waits only for room in the queue. The bytes of content
    /// that are written.
    pub(crate) async fn save(&self, variant: &Arc<Variant>) -> u64 {
        let Content::Whole(whole) = &variant.content else {
            return 0;
        };
        let mount = self.mount_of(variant.key.primary());
        let (Some(mount), 1..) = (mount, variant.on_disk.hits()) else {
            return 0;
        };
        mount.shelf.sink.room().await;
        if self.hand_in(&mount, variant, whole, Moment::Stop) {
            whole.len() as u64
        } else {
            0
        }
    }

    /// Hands in what is in memory since a while, if that is admitted.
    fn hand_in(
        &self,
        mount: &Mount,
        variant: &Arc<Variant>,
        whole: &Bytes,
        moment: Moment,
    ) -> bool {
        let (volume, filed) = (mount.volume(), self.filed(variant));
        let claim = Claim::late(volume, filed, variant, || variant.is_held());
        let Some(claim) = claim.filter(|claim| self.is_still_on(claim, variant)) else {
            return false;
        };
        let decided = self.decide(variant, &claim, moment);
        let is_admitted = matches!(decided, Admission::Write(_));
        if is_admitted {
            self.put_whole(&mount.shelf, variant, whole, claim);
        }
        is_admitted
    }

    /// What is in memory and on disk was hit in memory, for the first time in a while: that counts for its record, and if that is gone, the
    /// response may be written again.
    pub(crate) fn hit_in_both(&self, variant: &Variant) {
        let Some(mount) = self.mount_of(variant.key.primary()) else {
            return;
        };
        if !mount.volume().catalog.count_hit_of(self.filed(variant)) {
            variant.on_disk.lose();
        }
    }

    fn decide(&self, variant: &Variant, claim: &Claim, moment: Moment) -> Admission {
        let partition = variant.key.partition();
        let policies = self.policies.read();
        admission::decide(&admission::Facts {
            moment,
            policy: policies.get(&partition).copied().unwrap_or_default(),
            replaces: claim.replaces(),
            has_wrapped: claim.volume().has_wrapped(),
            has_allowance: claim.volume().allowance.is_left(),
            standing: self.shares.standing(partition, variant.content.length()),
            // Versions count up: spread, they are as good as chance.
            chance: (variant.version.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16,
        })
    }

    fn put_whole(&self, shelf: &Shelf, variant: &Arc<Variant>, whole: &Bytes, claim: Claim) {
        let vary = self.vary_of(variant);
        if whole.len() as u64 <= INLINE_MAX {
            shelf.put_head(variant, vary, Place::default(), whole.clone(), claim);
        } else {
            shelf.put_long(variant, vary, whole.clone(), claim);
        }
    }

    /// Writes a stored response whose content is in memory, or on disk already. Waits only for room in the queue. `false` when it
    /// will not be written, although its volume serves.
    pub(crate) async fn write(&self, variant: &Arc<Variant>, claim: Claim) -> bool {
        let volume = Arc::clone(claim.volume());
        let online = self.mounts.online();
        let Some(mount) = online
            .iter()
            .find(|mount| Arc::ptr_eq(mount.volume(), &volume))
        else {
            // It is out of service, and comes back empty.
            return true;
        };
        let shelf = mount.shelf.clone();
        shelf.sink.room().await;
        match &variant.content {
            Content::OnDisk(content) => {
                let vary = self.vary_of(variant);
                let is_here = content
                    .mount()
                    .is_some_and(|mount| Arc::ptr_eq(mount.volume(), &volume));
                if is_here {
                    shelf.put_head(variant, vary, content.place(), Bytes::new(), claim);
                }
                is_here
            }
            Content::Whole(whole) => {
                self.put_whole(&shelf, variant, whole, claim);
                true
            }
            // Only a store without a disk holds pieces, and one whose disk failed.
            Content::Pieces(_) => false,
        }
    }

    /// Where the pieces of a long fill go; `None` without a volume in service.
    pub(crate) fn mount_of(&self, primary: u128) -> Option<Arc<Mount>> {
        self.mounts.best(|name| score(primary, name))
    }

    fn filed(&self, variant: &Variant) -> Filed {
        Filed {
            primary: variant.key.primary(),
            variant: variant_of(self.vary_of(variant), variant.selected_by),
        }
    }

    fn vary_of(&self, variant: &Variant) -> u32 {
        vary_of(&variant.response.vary, self.purges.keys())
    }

    /// Lets a minute pass for the volumes.
    #[cfg(test)]
    pub(crate) fn pass_minute(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.bell().pass_minute();
        }
    }

    /// Takes the volume out of service that has a key.
    #[cfg(test)]
    pub(crate) fn fail_volume_of(&self, primary: u128) {
        let mount = self.mount_of(primary).unwrap();
        mount.volume().retire(volume::Outage::Failing);
    }

    /// Waits until everything handed in is durable.
    pub(crate) async fn flush(&self) {
        for mount in self.mounts.online() {
            // Twice: the head of long content is handed in when its piece is written.
            mount.writer.sink().flush().await;
            mount.writer.sink().flush().await;
        }
    }

    /// Makes everything handed in durable and closes the volumes; nothing is written any more.
    pub(crate) async fn close(&self) {
        for mount in self.mounts.online() {
            mount.writer.close().await;
        }
    }
}

/// Opens what can be opened, and lets every volume remember the others.
fn open_volumes(configs: &[VolumeConfig], shared: &Shared) -> Vec<Option<Volume>> {
    let open = |(number, config): (usize, &VolumeConfig)| {
        let opened = Volume::open(number, config, shared.clone(), volume::Content::Believe);
        if let Err(error) = &opened {
            let errors = &shared.metrics.disk_errors;
            errors.with_label_values(&["open"]).inc();
            error!("{}: the volume is left out: {error}", config.path.display());
        }
        opened.ok()
    };
    let volumes: Vec<_> = configs.iter().enumerate().map(open).collect();
    let names: Vec<u64> = volumes.iter().flatten().map(|volume| volume.name).collect();
    for volume in volumes.iter().flatten() {
        let others: Vec<u64> = names
            .iter()
            .copied()
            .filter(|n| *n != volume.name)
            .collect();
        if let Err(error) = volume.meet(&others) {
            error!("{}: {error}", volume.path().display());
            volume.retire(volume::Outage::Unbelievable);
        }
    }
    volumes
}
