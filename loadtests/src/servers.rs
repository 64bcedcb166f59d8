//! Starts the servers that are measured, each with its smallest fair configuration, and stops them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cpu;

/// The name that the measured site answers to.
pub(crate) const HOST: &str = "bench.test";

/// A running server. Stopped when dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    /// A process that listens there.
    pub(crate) const fn new(address: SocketAddr, child: Child) -> Self {
        Self { address, child }
    }

    /// The processes whose time counts.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut processes = cpu::children(self.child.id());
        processes.push(self.child.id());
        processes
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(id) =
            rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0))
        {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// An nginx that serves a file of this size: the origin of both.
pub(crate) fn origin(home: &Path, size: usize) -> Result<Server> {
    let files = home.join("files");
    fs::create_dir_all(&files)?;
    fs::write(files.join("object"), vec![b'x'; size])?;
    let server = format!(
        "root {};\n  add_header Cache-Control \"max-age=3600\";",
        files.display()
    );
    nginx(home, "origin", "", &server)
}

/// An nginx that caches what the origin gives.
pub(crate) fn caching_nginx(home: &Path, origin: SocketAddr) -> Result<Server> {
    let cache = home.join("nginx-cache");
    let http = format!("proxy_cache_path {} keys_zone=one:10m;", cache.display());
    let server = format!(
        "location / {{ proxy_pass http://{origin}; proxy_cache one; proxy_http_version 1.1; proxy_set_header Host $host; }}"
    );
    nginx(home, "cache", &http, &server)
}

fn nginx(home: &Path, name: &str, http: &str, server: &str) -> Result<Server> {
    let address = free_address()?;
    let folder = home.join(name);
    fs::create_dir_all(&folder)?;
    let configuration = format!(
        "worker_processes 1;\ndaemon off;\nuser root;\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n keepalive_requests 1000;\n tcp_nodelay on;\n sendfile on;\n \
         client_body_temp_path {folder}/body;\n proxy_temp_path {folder}/proxy;\n fastcgi_temp_path {folder}/f;\n \
         uwsgi_temp_path {folder}/u;\n scgi_temp_path {folder}/s;\n {http}\n \
         server {{ listen {address};\n  {server}\n }}\n}}\n",
        folder = folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .arg("-e")
        .arg(folder.join("error.log"))
        .spawn();
    let server = Server::new(address, child.context("starting nginx (is it installed?)")?);
    wait_for(address)?;
    Ok(server)
}

/// What a `jet9` is started with.
pub(crate) struct Documents<'a> {
    /// The name of the only site and of its cluster.
    pub(crate) name: &'a str,
    /// The node file.
    pub(crate) node: &'a str,
    /// The site's document.
    pub(crate) site: &'a str,
}

/// A `jet9` whose only site has this origin.
pub(crate) fn jet9(
    program: &Path,
    home: &Path,
    origin: SocketAddr,
    documents: &Documents<'_>,
) -> Result<Server> {
    let home = home.join("jet9");
    for folder in ["data", "state/sites", "state/clusters"] {
        fs::create_dir_all(home.join(folder))?;
    }
    let name = documents.name;
    write(&home, "node.toml", documents.node)?;
    write(&home, &format!("state/sites/{name}.toml"), documents.site)?;
    write(
        &home,
        &format!("state/clusters/{name}.json"),
        &cluster(name, origin),
    )?;
    start_jet9(program, &home)
}

/// The state of a cluster whose live master has this one address.
pub(crate) fn cluster(name: &str, origin: SocketAddr) -> String {
    format!(
        "{{\"v\":1,\"cluster\":\"{name}\",\"epoch\":1,\"phase\":\"serving\",\"master\":\"a\",\"sides\":{{\"a\":{{\"addrs\":[\"{origin}\"]}},\"b\":{{\"addrs\":[]}}}},\"fencing\":\"confirmed\"}}\n"
    )
}

/// Starts a `jet9` with the files that are in `home`.
pub(crate) fn start_jet9(program: &Path, home: &Path) -> Result<Server> {
    let log = home.join("jet9.log");
    let mut child = Command::new(program)
        .args(["run", "--config"])
        .arg(home.join("node.toml"))
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?)
        .spawn()
        .with_context(|| format!("starting {} (cargo build --release)", program.display()))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut server = Server::new(SocketAddr::from(([127, 0, 0, 1], 0)), child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    server.address = match listening(&line) {
        Some(address) => address,
        None => bail!("jet9 did not start:\n{}", fs::read_to_string(log)?),
    };
    Ok(server)
}

/// The first address of `http` in the line that `jet9 run` prints.
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"http\":[\"")?;
    rest.split('"').next()?.parse().ok()
}

fn write(home: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = home.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Waits until something listens there.
pub(crate) fn wait_for(address: SocketAddr) -> Result<()> {
    for _ in 0..200 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    bail!("nothing listens on {address}")
}
