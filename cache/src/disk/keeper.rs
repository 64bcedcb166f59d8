//! Keeps the volumes of a store in service: one that fails is tried again after a minute, one that cannot be believed is emptied.
//!
//! One thread for all volumes, started by `disk`. Whatever comes back was away, and so comes back empty, under the same name: its keys are
//! its own again, and the others remember durably that they lost them. Says in log and metrics how many volumes serve.

use std::sync::Arc;
use std::time::Duration;

use log::{error, info, warn};
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;

use crate::disk::VolumeConfig;
use crate::io::Closing;
use crate::metrics::Metrics;
use crate::purge::Tick;

use super::Mount;
use super::volume::{Content, Outage, Shared, Volume};

/// How often a volume that failed is tried again, and how long failures count.
const MINUTE: Duration = Duration::from_secs(60);

/// The volumes of a store, in the order of its configuration; `None` for one that is not open.
#[derive(Debug)]
pub(super) struct Mounts {
    list: RwLock<Vec<Option<Arc<Mount>>>>,
}

impl Mounts {
    pub(super) const fn new(list: Vec<Option<Arc<Mount>>>) -> Self {
        Self {
            list: RwLock::new(list),
        }
    }

    /// Every volume that is in service.
    pub(super) fn online(&self) -> Vec<Arc<Mount>> {
        let list = self.list.read();
        let online = list
            .iter()
            .flatten()
            .filter(|mount| mount.volume().is_online());
        online.cloned().collect()
    }

    /// The volume in service that is best for something.
    pub(super) fn best(&self, score: impl Fn(u64) -> u64) -> Option<Arc<Mount>> {
        let list = self.list.read();
        let online = list
            .iter()
            .flatten()
            .filter(|mount| mount.volume().is_online());
        online
            .max_by_key(|mount| score(mount.volume().name))
            .cloned()
    }

    /// The birth of the oldest record of all, [`Tick::FOREVER`] without any; `None` while a volume is loaded. What is out of service comes
    /// back empty.
    pub(super) fn oldest(&self) -> Option<Tick> {
        let mut oldest = Tick::FOREVER;
        for mount in self.online() {
            let volume = mount.volume();
            if !volume.is_loaded() {
                return None;
            }
            oldest = oldest.min(volume.catalog.oldest());
        }
        Some(oldest)
    }

    /// Lets all of them go.
    fn take(&self) -> Vec<Arc<Mount>> {
        self.list.write().drain(..).flatten().collect()
    }
}

/// What wakes the keeper, and what it is told to sum up.
#[derive(Debug)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    is_rung: bool,
    is_minute: bool,
    closing: bool,
    /// Stored responses of each volume.
    records: Vec<u64>,
}

/// Why the keeper wakes.
enum Woken {
    Rung,
    Minute,
    Closing,
}

impl Bell {
    pub(super) fn new(volumes: usize, metrics: Metrics) -> Self {
        let state = State {
            records: vec![0; volumes],
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            rung: Condvar::new(),
            metrics,
        }
    }

    /// Something changed: the keeper has a look.
    pub(super) fn ring(&self) {
        self.state.lock().is_rung = true;
        self.rung.notify_one();
    }

    /// Lets a minute be over before it is.
    #[cfg(test)]
    pub(super) fn pass_minute(&self) {
        self.state.lock().is_minute = true;
        self.rung.notify_one();
    }

    /// Notes how many stored responses a volume has, and how many bytes those of all volumes take.
    pub(super) fn measure(&self, number: usize, records: u64, bytes: u64) {
        let mut state = self.state.lock();
        if let Some(of_volume) = state.records.get_mut(number) {
            *of_volume = records;
        }
        let all: u64 = state.records.iter().sum();
        drop(state);
        let gauge = &self.metrics.stored_responses;
        let all = i64::try_from(all).unwrap_or(i64::MAX);
        gauge.with_label_values(&["disk"]).set(all);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let gauge = &self.metrics.stored_bytes;
        gauge.with_label_values(&["disk"]).set(bytes);
    }

    fn wait(&self) -> Woken {
        let mut state = self.state.lock();
        let idle = |state: &mut State| !state.is_rung && !state.is_minute && !state.closing;
        let timed_out = self
            .rung
            .wait_while_for(&mut state, idle, MINUTE)
            .timed_out();
        state.is_rung = false;
        let is_minute = std::mem::take(&mut state.is_minute) || timed_out;
        match (state.closing, is_minute) {
            (true, _) => Woken::Closing,
            (false, true) => Woken::Minute,
            (false, false) => Woken::Rung,
        }
    }
}

/// The keeper's thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    mounts: Arc<Mounts>,
    bell: Arc<Bell>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// Starts it; it tells `loaded` once every volume that can be has its index.
    pub(super) fn start(
        mounts: &Arc<Mounts>,
        configs: &[VolumeConfig],
        shared: &Shared,
        loaded: watch::Sender<bool>,
    ) -> std::io::Result<Self> {
        let work = Work {
            mounts: Arc::clone(mounts),
            configs: configs.to_vec(),
            shared: shared.clone(),
            loaded,
        };
        let thread = std::thread::Builder::new()
            .name("jet9-volumes".into())
            .spawn(move || work.run())?;
        Ok(Self {
            mounts: Arc::clone(mounts),
            bell: Arc::clone(&shared.bell),
            thread: Some(thread),
        })
    }
}

#[cfg(test)]
impl Keeper {
    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.bell.state.lock().closing = true;
        self.bell.rung.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that keeps the volumes had panicked");
        }
        // With their threads, and their locks on the files.
        drop(self.mounts.take());
    }
}

struct Work {
    mounts: Arc<Mounts>,
    configs: Vec<VolumeConfig>,
    shared: Shared,
    loaded: watch::Sender<bool>,
}

impl Work {
    fn run(self) {
        loop {
            self.renew(|mount| mount.volume().outage() == Some(Outage::Unbelievable));
            self.sum_up();
            let woken = self.shared.bell.wait();
            self.expel();
            match woken {
                Woken::Closing => return,
                Woken::Rung => {}
                Woken::Minute => self.retry(),
            }
        }
    }

    /// Notes durably which volumes failed.
    fn expel(&self) {
        let list = self.mounts.list.read().clone();
        for mount in list.iter().flatten() {
            if mount.volume().outage().is_some() {
                mount.volume().expel();
            }
        }
    }

    /// A minute has passed: failures count anew, and what failed is tried again.
    fn retry(&self) {
        for mount in self.mounts.online() {
            mount.volume().begin_minute();
        }
        self.renew(|mount| mount.volume().outage() == Some(Outage::Failing));
        self.open_missing();
    }

    /// Empties the volumes that are out of service and puts them back.
    fn renew(&self, is_due: impl Fn(&Mount) -> bool) {
        let list: Vec<_> = self.mounts.list.read().clone();
        for (number, old) in list.into_iter().enumerate() {
            let (Some(old), Some(config)) = (old, self.configs.get(number)) else {
                continue;
            };
            if !is_due(&old) {
                continue;
            }
            old.volume().expel();
            // What is still on its way to the device must not land on what it will hold next.
            if old.volume().file.close() == Closing::Owing {
                warn!("{}: the device does not answer", config.path.display());
                continue;
            }
            let device = Arc::clone(old.volume().file.device());
            self.set(number, None);
            // Its threads end first.
            drop(old);
            let shared = self.shared.clone();
            let opened = Volume::open_on(number, config, shared, device, Content::Empty);
            self.adopt(number, opened);
        }
    }

    /// Opens what could not be opened before. Nobody may have noted that it failed, where the journal and its own superblock failed with
    /// it: it was away, and is not believed whatever they say.
    fn open_missing(&self) {
        for (number, config) in self.configs.iter().enumerate() {
            let is_missing = self
                .mounts
                .list
                .read()
                .get(number)
                .is_some_and(Option::is_none);
            if is_missing {
                let shared = self.shared.clone();
                let opened = Volume::open(number, config, shared, Content::Empty);
                self.adopt(number, opened);
            }
        }
    }

    fn adopt(&self, number: usize, opened: std::io::Result<Volume>) {
        let metrics = &self.shared.metrics;
        let started = opened.and_then(|volume| {
            let names: Vec<u64> = self.names().filter(|name| *name != volume.name).collect();
            volume.meet(&names)?;
            Mount::start(volume)
        });
        match started {
            Ok(mount) => {
                info!(
                    "{}: in service again, empty",
                    mount.volume().path().display()
                );
                self.put_into_service(number, mount);
            }
            Err(error) => {
                metrics.disk_errors.with_label_values(&["open"]).inc();
                error!("volume {number} cannot be put back into service: {error}");
            }
        }
    }

    /// Gives a volume its keys. The others note durably that they lose them, and no lap of theirs begins until it serves: what they hold of
    /// those keys, and what they may still write of them before they know, is all in laps that are not believed any more.
    fn put_into_service(&self, number: usize, mount: Mount) {
        let joining = [mount.volume().name];
        let others = self.mounts.online();
        let held: Vec<_> = (others.iter())
            .map(|other| other.volume().hold_reuse())
            .collect();
        for other in &others {
            // One that cannot note what it loses must lose all.
            if other.volume().meet(&joining).is_err() {
                other.volume().retire(Outage::Unbelievable);
            }
        }
        self.set(number, Some(Arc::new(mount)));
        for other in &others {
            other.volume().give_way(&joining);
        }
        drop(held);
    }

    fn names(&self) -> impl Iterator<Item = u64> {
        let online = self.mounts.online();
        online.into_iter().map(|mount| mount.volume().name)
    }

    fn set(&self, number: usize, mount: Option<Arc<Mount>>) {
        if let Some(of_number) = self.mounts.list.write().get_mut(number) {
            *of_number = mount;
        }
    }

    /// Tells how many volumes serve, and whether all of them are loaded.
    fn sum_up(&self) {
        let online = self.mounts.online();
        let out = self.configs.len() - online.len();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let volumes = &self.shared.metrics.volumes;
        volumes
            .with_label_values(&["in_service"])
            .set(count(online.len()));
        volumes
            .with_label_values(&["out_of_service"])
            .set(count(out));
        let due = self
            .mounts
            .list
            .read()
            .iter()
            .flatten()
            .any(|mount| mount.volume().outage() == Some(Outage::Unbelievable));
        if !due && online.iter().all(|mount| mount.volume().is_loaded()) {
            self.loaded.send_replace(true);
        }
    }
}
