//! How much processor time have these processes used? From `/proc`, summed over all threads and children named.

use std::fs;

use anyhow::{Context, Result};

/// User and system time of processes, in seconds.
pub(crate) fn seconds(processes: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for process in processes {
        ticks += ticks_of(*process)?;
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn ticks_of(process: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the server is gone")?;
    // The second field is the name in parentheses and may hold spaces: count from behind it.
    let rest = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest)
        .context("an odd /proc/…/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    field(11)
        .zip(field(12))
        .map(|(user, system)| user + system)
        .context("an odd /proc/…/stat")
}

/// The direct children of a process.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Binds a process (its threads to be born, too) to one processor.
pub(crate) fn pin(process: u32, processor: usize) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    let id = rustix::process::Pid::from_raw(i32::try_from(process)?);
    Ok(rustix::thread::sched_setaffinity(id, &set)?)
}

/// The name of the processor and how many there are.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or("an unknown processor", |(_, name)| name.trim());
    let count = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} × {name}, Linux {}", kernel.trim())
}
