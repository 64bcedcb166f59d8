//! `jet9 quickstart` — the main job on loopback, with no preparation.
//!
//! Called by `./quickstart`. Makes a temporary directory with a node file, a certificate, one site and its cluster's state, plays two demo
//! sides (or uses `--origin`), starts `jet9 run` on it as a child and prints what to try. Ctrl-C stops all of it and removes the directory.
//! Uses nothing that an operator could not write by hand: the files it makes are the smallest complete set-up.

mod demo_side;

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, process};

use demo_side::DemoSide;

/// The name that the demo site answers to, besides the loopback addresses.
const HOST: &str = "localhost";

/// What `jet9 quickstart` was asked.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Put the edge before this server instead of two demo sides, e.g. http://127.0.0.1:3000
    #[arg(long, value_name = "URL")]
    pub origin: Option<String>,
}

/// What stopped a quickstart from starting.
#[derive(Debug, thiserror::Error)]
pub enum QuickstartError {
    /// The origin's URL cannot be used.
    #[error("--origin {url}: {problem}; it has to look like http://127.0.0.1:3000")]
    Origin {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something of the system failed.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The edge ended before it listened; it has said why on standard error.
    #[error("the edge did not start")]
    NotStarted,
}

/// Runs the quickstart until Ctrl-C or SIGTERM.
///
/// # Errors
/// When something needed could not be made; nothing is left behind then.
pub fn run(arguments: &Arguments) -> Result<(), QuickstartError> {
    let interrupted = interruption()?;
    let sides = Sides::make(arguments)?;
    let home = Home::make(&sides)?;
    let mut edge = RunningEdge::start(&home.node_file())?;
    let listening = edge.listening()?;
    println!("{}", guide(&home, &listening, &sides));
    edge.wait_until(&interrupted);
    println!("stopping");
    Ok(())
}

/// Where the demo's pages come from.
enum Sides {
    Demo { a: DemoSide, b: DemoSide },
    Own { address: SocketAddr, url: String },
}

impl Sides {
    fn make(arguments: &Arguments) -> Result<Self, QuickstartError> {
        if let Some(url) = &arguments.origin {
            return Ok(Self::Own {
                address: address_of(url)?,
                url: url.clone(),
            });
        }
        let start = |name| DemoSide::start(name).map_err(system("starting a demo side"));
        Ok(Self::Demo {
            a: start("a")?,
            b: start("b")?,
        })
    }

    fn document(&self) -> String {
        let (a, b) = match self {
            Self::Demo { a, b } => (
                format!("\"{}\"", a.address()),
                format!("\"{}\"", b.address()),
            ),
            Self::Own { address, .. } => (format!("\"{address}\""), String::new()),
        };
        format!(
            "{{\"v\":1,\"cluster\":\"demo\",\"epoch\":1,\"phase\":\"serving\",\"master\":\"a\",\n \
             \"sides\":{{\"a\":{{\"addrs\":[{a}]}},\"b\":{{\"addrs\":[{b}]}}}},\n \
             \"fencing\":\"confirmed\",\"hold_ms\":10000}}\n"
        )
    }
}

fn address_of(url: &str) -> Result<SocketAddr, QuickstartError> {
    let wrong = |problem: &str| QuickstartError::Origin {
        url: url.to_owned(),
        problem: problem.to_owned(),
    };
    let uri: http::Uri = url.parse().map_err(|_| wrong("not a URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong("only http:// works here"));
    }
    let host = uri.host().ok_or_else(|| wrong("no host"))?;
    let target = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let found = target
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| wrong("the host has no address"))
}

/// The temporary directory and what is in it. Removed when dropped.
struct Home {
    path: PathBuf,
}

impl Home {
    fn make(sides: &Sides) -> Result<Self, QuickstartError> {
        let home = Self {
            path: std::env::temp_dir().join(format!("jet9-quickstart-{}", process::id())),
        };
        for folder in ["state/sites", "state/clusters", "data/certificates"] {
            fs::create_dir_all(home.path.join(folder)).map_err(system("making a directory"))?;
        }
        home.write("node.toml", &node_file())?;
        home.write("state/sites/demo.toml", &site_file())?;
        home.write("state/clusters/demo.json", &sides.document())?;
        home.write("data/certificates/demo.pem", &certificate()?)?;
        Ok(home)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), QuickstartError> {
        fs::write(self.path.join(name), text).map_err(system(&format!("writing {name}")))
    }

    fn node_file(&self) -> PathBuf {
        self.path.join("node.toml")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path); // best effort: it lies in the temporary directory
    }
}

fn node_file() -> String {
    let [http, https, admin, metrics] = [8080, 8443, 9443, 9145].map(free_or_any);
    format!(
        "[node]\nid = \"quickstart\"\nzone = \"local\"\ndata_dir = \"data\"\n\n\
         [listen]\nhttp = [\"{http}\"]\nhttps = [\"{https}\"]\nadmin = [\"unix:data/admin.sock\", \"{admin}\"]\n\
         metrics = \"{metrics}\"\n\n\
         [cache]\nmemory = \"64MiB\"\ndisk = [{{ path = \"data/cache\", size = \"256MiB\" }}]\n\n\
         [state]\nkind = \"directory\"\npath = \"state\"\n\n\
         [tls]\ndefault_certificate = \"data/certificates/demo.pem\"\n\n\
         [log]\naccess = {{ format = \"json\", path = \"data/access.log\" }}\n"
    )
}

/// The well-known port if it is free, else one that the system chooses.
fn free_or_any(port: u16) -> SocketAddr {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if TcpListener::bind(address).is_ok() {
        address
    } else {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }
}

fn site_file() -> String {
    format!(
        "id = \"demo\"\ndomains = [\"{HOST}\", \"127.0.0.1\"]\nhttps = \"both\"\n\n\
         [origin]\ncluster = \"demo\"\n\n[cache]\nprofile = \"lamp-safe\"\n"
    )
}

fn certificate() -> Result<String, rcgen::Error> {
    let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned(), "127.0.0.1".to_owned()])?;
    Ok(format!(
        "{}{}",
        made.cert.pem(),
        made.signing_key.serialize_pem()
    ))
}

/// `jet9 run` as a child. Stopped when dropped.
struct RunningEdge {
    child: Child,
}

impl RunningEdge {
    fn start(node_file: &Path) -> Result<Self, QuickstartError> {
        let program = std::env::current_exe().map_err(system("finding this program"))?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(node_file)
            .stdout(Stdio::piped())
            .process_group(0) // Ctrl-C reaches the quickstart alone; it stops the edge in order
            .spawn()
            .map_err(system("starting the edge"))?;
        Ok(Self { child })
    }

    /// The line in which the edge says where it listens.
    fn listening(&mut self) -> Result<Listening, QuickstartError> {
        let stdout = self
            .child
            .stdout
            .take()
            .ok_or(QuickstartError::NotStarted)?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(system("reading from the edge"))?;
        serde_json::from_str(&line).map_err(|_| QuickstartError::NotStarted)
    }

    fn wait_until(&self, interrupted: &std::os::unix::net::UnixStream) {
        let mut byte = [0];
        let _ = io::Read::read(&mut &*interrupted, &mut byte); // ends with the signal
    }
}

impl Drop for RunningEdge {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[derive(Debug, serde::Deserialize)]
struct Listening {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// A socket that becomes readable with SIGINT or SIGTERM.
fn interruption() -> Result<std::os::unix::net::UnixStream, QuickstartError> {
    let (read, write) =
        std::os::unix::net::UnixStream::pair().map_err(system("making a socket pair"))?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let write = write.try_clone().map_err(system("making a socket pair"))?;
        signal_hook::low_level::pipe::register(signal, write)
            .map_err(system("watching for Ctrl-C"))?;
    }
    Ok(read)
}

fn system(doing: &str) -> impl FnOnce(io::Error) -> QuickstartError + use<> {
    let doing = doing.to_owned();
    move |source| QuickstartError::System { doing, source }
}

fn guide(home: &Home, listening: &Listening, sides: &Sides) -> String {
    let http = first(&listening.http);
    let https = first(&listening.https);
    let metrics = listening
        .metrics
        .map(|address| address.to_string())
        .unwrap_or_default();
    let jet9 =
        std::env::current_exe().map_or_else(|_| "jet9".into(), |path| path.display().to_string());
    let config = home.node_file().display().to_string();
    let state = home.path.join("state").display().to_string();
    let page = match sides {
        Sides::Demo { .. } => "/page",
        Sides::Own { .. } => "/",
    };
    let origin = match sides {
        Sides::Demo { a, b } => format!(
            "two demo sides: a on {}, b on {}; a is master",
            a.address(),
            b.address()
        ),
        Sides::Own { url, .. } => format!("your server, {url}"),
    };
    let mut text = format!(
        "\nJet9 Edge is running on loopback, before {origin}.\n\
         \n  http://{http}{page}\n  https://{https}{page}   (its certificate is its own: curl -k)\n\
         \nThings to try, in another terminal. Files are in {dir} until Ctrl-C.\n\
         \n1. A miss, then a hit: the second answer says `hit` in Cache-Status and has an Age.\n\
         \x20  curl -ski https://{https}{page}\n   curl -ski https://{https}{page}\n\
         \n2. A purge: the next answer comes from the origin again (`fwd=uri-miss`).\n\
         \x20  {jet9} purge --config {config} --site demo --hard --url https://{host}{page}\n   curl -ski https://{https}{page}\n",
        dir = home.path.display(),
        host = "127.0.0.1",
    );
    if let Sides::Demo { .. } = sides {
        text.push_str(&failover_guide(&jet9, &config, https));
    }
    text.push_str(&format!(
        "\n5. What it counts.\n   curl -s http://{metrics}/metrics | grep jet9_edge_requests_total\n\
         \nThe whole set-up: {config}, {state}/sites/demo.toml, {state}/clusters/demo.json.\nCtrl-C stops it and removes them.\n"
    ));
    text
}

fn failover_guide(jet9: &str, config: &str, https: SocketAddr) -> String {
    format!(
        "\n3. A failover: the state says that b is master now, and the next forwarded request goes there.\n\
         \x20  {jet9} cluster publish --config {config} --cluster demo --phase serving --master b --expect-epoch 1 --ended demoted\n\
         \x20  curl -sk https://{https}/who\n\
         \n4. A failure: nobody is master. What is stored is still served (even when stale), the rest is a 503 that says when to retry.\n\
         \x20  {jet9} cluster publish --config {config} --cluster demo --phase down --expect-epoch 2\n\
         \x20  curl -ski https://{https}/page\n   curl -ski https://{https}/who\n\
         \x20  {jet9} cluster publish --config {config} --cluster demo --phase serving --master a --expect-epoch 3 --ended demoted\n"
    )
}

fn first(addresses: &[SocketAddr]) -> SocketAddr {
    addresses
        .first()
        .copied()
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}
