//! What the benches share: what machine it is, how much memory is resident, and keys.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each bench uses a part of it"
)]

use std::fs;
use std::time::Duration;

/// The processor, how many of them, and the kernel.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    let count = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor\t"))
        .count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{count} × {}, Linux {}",
        model.unwrap_or("unknown"),
        kernel.trim()
    )
}

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// A key's hash, evenly spread, as the real ones are.
pub(crate) fn hash(n: u64) -> u128 {
    let mix = |n: u64| {
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    };
    let first = mix(n.wrapping_add(0x9e37_79b9_7f4a_7c15));
    u128::from(first) << 64 | u128::from(mix(first ^ 0x5851_f42d_4c95_7f2d))
}

/// Processor time that this thread had taken at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuTime(Duration);

impl CpuTime {
    pub(crate) fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Self(Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        ))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}
