//! How many memory hits does a processor-second of each server answer?
//!
//! Both servers stand before the same origin, hold one response, and are asked for it over the same number of keep-alive connections, in
//! turn, so that a change of the machine's speed meets both. Servers run on processor 0, the client on processor 1 where there is one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::load::{self, Target};
use crate::servers::{self, Documents, HOST, Server};
use crate::{cpu, report};

/// What to measure.
pub(crate) struct Plan {
    pub(crate) jet9: PathBuf,
    pub(crate) size: usize,
    pub(crate) seconds: u64,
    pub(crate) runs: usize,
    pub(crate) connections: usize,
}

/// One thread, memory alone, no log.
const NODE: &str = "[node]\nid = \"bench\"\nzone = \"local\"\ndata_dir = \"data\"\nthreads = 1\n[listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = []\nadmin = []\nmetrics = \"127.0.0.1:0\"\n[cache]\nmemory = \"256MiB\"\ndisk = []\n[state]\nkind = \"directory\"\npath = \"state\"\n[log]\naccess = { format = \"off\" }\n";

/// Measures and prints.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let home = tempfile::tempdir()?;
    let origin = servers::origin(home.path(), plan.size)?;
    let documents = Documents {
        name: "bench",
        node: NODE,
        site: &format!(
            "id = \"bench\"\ndomains = [\"{HOST}\"]\nhttps = \"both\"\n[origin]\ncluster = \"bench\"\n[cache]\nprofile = \"rfc\"\n"
        ),
    };
    let jet9 = servers::jet9(&plan.jet9, home.path(), origin.address, &documents)?;
    let nginx = servers::caching_nginx(home.path(), origin.address)?;
    separate(&[&jet9, &nginx])?;
    let (jet9, nginx) = (
        Measured::prepare(jet9, plan)?,
        Measured::prepare(nginx, plan)?,
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        ours.push(jet9.per_cpu_second(plan)?);
        theirs.push(nginx.per_cpu_second(plan)?);
    }
    let ratios: Vec<f64> = ours
        .iter()
        .zip(&theirs)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    println!("{}", cpu::machine());
    println!(
        "memory hits of {} bytes, HTTP/1.1 in clear, {} connections, {} runs of {} s each, one server thread",
        plan.size, plan.connections, plan.runs, plan.seconds
    );
    report::head("requests per CPU-second");
    report::row("jet9", &ours, 0);
    report::row("nginx", &theirs, 0);
    report::row("jet9 / nginx, run by run", &ratios, 2);
    Ok(())
}

/// Servers to processor 0, this process to processor 1, where there are two.
fn separate(servers: &[&Server]) -> Result<()> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Ok(());
    }
    for process in servers.iter().flat_map(|server| server.processes()) {
        for thread in threads(process) {
            cpu::pin(thread, 0)?;
        }
    }
    cpu::pin(std::process::id(), 1)
}

fn threads(process: u32) -> Vec<u32> {
    let entries = std::fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

struct Measured {
    server: Server,
    target: Target,
}

impl Measured {
    /// Fills the cache and makes sure that what follows are hits.
    fn prepare(server: Server, plan: &Plan) -> Result<Self> {
        let target = Target {
            address: server.address,
            host: HOST.into(),
            path: "/object".into(),
            size: plan.size,
        };
        load::head_of(&target)?;
        load::drive(&target, 1, Duration::from_millis(200))?;
        let head = load::head_of(&target)?;
        ensure!(!head.contains("fwd="), "not a hit:\n{head}");
        Ok(Self { server, target })
    }

    fn per_cpu_second(&self, plan: &Plan) -> Result<f64> {
        let processes = self.server.processes();
        let before = cpu::seconds(&processes)?;
        let count = load::drive(
            &self.target,
            plan.connections,
            Duration::from_secs(plan.seconds),
        )?;
        let used = cpu::seconds(&processes)? - before;
        ensure!(used > 0.0, "no processor time was used");
        Ok(count as f64 / used)
    }
}
