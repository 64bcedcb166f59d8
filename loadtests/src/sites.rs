//! What do ten thousand sites cost: the start, one change, and the memory of each?
//!
//! The same edge is started with one site and with all of them, each with a cluster's state and a certificate of its own. A start is over when
//! the last site answers its first request; a change is a `PUT` of one site with one more name, over when it is answered, and the new name
//! has to be served by the very next request. Memory is what the kernel says is resident.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};

use crate::servers::{self, Server};
use crate::{cpu, report};

/// What to measure.
pub(crate) struct Plan {
    pub(crate) jet9: PathBuf,
    pub(crate) sites: usize,
    pub(crate) changes: usize,
    pub(crate) runs: usize,
}

/// How many sites share one cluster.
const SITES_OF_A_CLUSTER: usize = 100;

const NODE: &str = "[node]\nid = \"bench\"\nzone = \"local\"\ndata_dir = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nadmin = [\"unix:data/admin.sock\"]\nmetrics = \"127.0.0.1:0\"\n[cache]\nmemory = \"64MiB\"\ndisk = []\n[state]\nkind = \"directory\"\npath = \"state\"\n[log]\naccess = { format = \"off\" }\n";

/// Measures and prints.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    ensure!(plan.sites > 1, "two sites at least");
    let home = tempfile::tempdir()?;
    let origin = servers::origin(home.path(), 64)?;
    let (few, many) = (home.path().join("few"), home.path().join("many"));
    prepare(&few, 1, origin.address)?;
    prepare(&many, plan.sites, origin.address)?;
    let (mut starts, mut sizes, mut answered, mut served) = (vec![], vec![], vec![], vec![]);
    for _ in 0..plan.runs {
        let (alone, _) = start(&plan.jet9, &few, 0)?;
        let of_one = resident(&alone)?;
        drop(alone);
        let (edge, seconds) = start(&plan.jet9, &many, plan.sites - 1)?;
        starts.push(seconds);
        sizes.push((resident(&edge)? - of_one) / (plan.sites - 1) as f64 / 1024.0);
        for change in 0..plan.changes {
            let (answer, serve) = one_change(&edge, &many, plan.sites / 2, change)?;
            answered.push(answer * 1e3);
            served.push(serve * 1e3);
        }
    }
    println!("{}", cpu::machine());
    println!(
        "{} sites, {SITES_OF_A_CLUSTER} a cluster, each with a certificate; {} runs, {} changes in each",
        plan.sites, plan.runs, plan.changes
    );
    report::head("");
    report::row("start, s", &starts, 2);
    report::row("memory of an idle site, KiB", &sizes, 1);
    report::row("one change answered, ms", &answered, 2);
    report::row("… and served, ms", &served, 2);
    Ok(())
}

/// Writes the files of an edge.
fn prepare(home: &Path, sites: usize, origin: SocketAddr) -> Result<()> {
    for folder in ["data/certificates", "state/sites", "state/clusters"] {
        fs::create_dir_all(home.join(folder))?;
    }
    fs::write(home.join("node.toml"), NODE)?;
    for cluster in 0..=(sites - 1) / SITES_OF_A_CLUSTER {
        let document = servers::cluster(&format!("c-{cluster}"), origin);
        fs::write(
            home.join(format!("state/clusters/c-{cluster}.json")),
            document,
        )?;
    }
    for site in 0..sites {
        let document = format!(
            "id = \"s-{site}\"\ndomains = [{}]\nhttps = \"both\"\n[origin]\ncluster = \"c-{}\"\n",
            names(site).map(|name| format!("{name:?}")).join(", "),
            site / SITES_OF_A_CLUSTER
        );
        fs::write(home.join(format!("state/sites/s-{site}.toml")), document)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names(site).to_vec())?.self_signed(&key)?;
        let pem = certificate.pem() + &key.serialize_pem();
        fs::write(home.join(format!("data/certificates/s-{site}.pem")), pem)?;
    }
    Ok(())
}

fn names(site: usize) -> [String; 2] {
    [format!("site-{site}.test"), format!("www.site-{site}.test")]
}

/// A started edge, and the seconds until this site was served.
fn start(program: &Path, home: &Path, site: usize) -> Result<(Server, f64)> {
    let before = now();
    let edge = servers::start_jet9(program, home)?;
    let [name, _] = names(site);
    ensure!(is_served(edge.address, &name)?, "{name} is not served");
    Ok((edge, before.elapsed().as_secs_f64()))
}

/// Gives a site one more name: the seconds until that was answered, and until the name was served.
fn one_change(edge: &Server, home: &Path, site: usize, change: usize) -> Result<(f64, f64)> {
    let name = format!("change-{change}-{}.site-{site}.test", std::process::id());
    let [first, second] = names(site);
    let document = format!(
        "{{\"id\":\"s-{site}\",\"domains\":[\"{first}\",\"{second}\",\"{name}\"],\"https\":\"both\",\"origin\":{{\"cluster\":\"c-{}\"}}}}",
        site / SITES_OF_A_CLUSTER
    );
    let request = format!(
        "PUT /v1/sites/s-{site} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{document}",
        document.len()
    );
    let before = now();
    let admin = UnixStream::connect(home.join("data/admin.sock")).context("the admin socket")?;
    let status = ask(admin, &request)?;
    let answered = before.elapsed().as_secs_f64();
    ensure!(status == 200, "the change was answered with {status}");
    ensure!(
        is_served(edge.address, &name)?,
        "{name} was answered and is not served"
    );
    Ok((answered, before.elapsed().as_secs_f64()))
}

fn is_served(edge: SocketAddr, name: &str) -> Result<bool> {
    let request = format!("GET /object HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    Ok(ask(TcpStream::connect(edge)?, &request)? == 200)
}

/// The status of the answer to a request that ends its connection.
fn ask(mut stream: impl Read + Write, request: &str) -> Result<u16> {
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let status = line.split(' ').nth(1).context("no answer")?;
    Ok(status.parse()?)
}

/// Bytes of a server that are in memory, its own and not those of files.
fn resident(server: &Server) -> Result<f64> {
    let mut sum = 0.0;
    for process in server.processes() {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        sum += kibibytes.context("no RssAnon")?.parse::<f64>()? * 1024.0;
    }
    Ok(sum)
}

#[expect(clippy::disallowed_methods, reason = "this program measures time")]
fn now() -> Instant {
    Instant::now()
}
