//! A side of a real site: Debian's nginx over a directory of files, with a log that can be joined with the edge's.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::Signal;

use super::process::Process;
use super::scene::{Scene, Stage};
use super::wait::{SOON, until};

/// A running nginx.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    name: String,
    dir: PathBuf,
    process: Mutex<Arc<Process>>,
    stage: Stage,
}

/// A line of its log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    /// When the answer was over, in seconds since 1970.
    pub(crate) ended: f64,
    /// How long it took, in seconds.
    pub(crate) took: f64,
    /// `Jet9-Epoch`.
    pub(crate) epoch: Option<u64>,
    pub(crate) request_id: String,
    pub(crate) method: String,
    pub(crate) target: String,
    /// `Via`: through which edge it came.
    pub(crate) via: String,
}

impl Nginx {
    /// Serves the files under `root` as the side `name`.
    pub(crate) fn start(scene: &Scene, name: &str, root: &Path) -> Self {
        let dir = scene.dir().join(format!("nginx-{name}"));
        fs::create_dir_all(&dir).expect("a directory");
        Self::configured(scene, name, &dir, |address| {
            configuration(name, root, &dir, address)
        })
    }

    /// Serves as its configuration says, which listens on the address that it is given, and keeps its log and `pid` in `dir`.
    pub(crate) fn configured(
        scene: &Scene,
        name: &str,
        dir: &Path,
        configuration: impl Fn(SocketAddr) -> String,
    ) -> Self {
        for _ in 0..PORT_ATTEMPTS {
            let address = free_address();
            if let Some(nginx) = Self::try_start(scene, name, dir, address, &configuration(address))
            {
                return nginx;
            }
        }
        panic!("no port for nginx in {PORT_ATTEMPTS} attempts");
    }

    fn try_start(
        scene: &Scene,
        name: &str,
        dir: &Path,
        address: SocketAddr,
        configuration: &str,
    ) -> Option<Self> {
        fs::write(dir.join(CONFIG), configuration).expect("a file");
        let stage = scene.stage();
        run(&stage, name, dir).map(|process| Self {
            address,
            name: name.to_owned(),
            dir: dir.to_owned(),
            process: Mutex::new(process),
            stage,
        })
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(&self) {
        self.process.lock().kill();
    }

    /// Starts it again where it was; it must have been killed.
    pub(crate) fn start_again(&self) {
        fs::remove_file(self.dir.join(PID)).expect("it ran before");
        let process = run(&self.stage, &self.name, &self.dir);
        *self.process.lock() = process.expect("the port is still free");
    }

    /// Stops it as a debugger would: its connections stay.
    pub(crate) fn freeze(&self) {
        self.process.lock().signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.lock().signal(Signal::CONT);
    }

    /// What it has served.
    pub(crate) fn log(&self) -> Vec<Logged> {
        let text = fs::read_to_string(self.dir.join("access.log")).unwrap_or_default();
        text.lines().map(parse).collect()
    }
}

fn run(stage: &Stage, name: &str, dir: &Path) -> Option<Arc<Process>> {
    let process = stage.spawn(
        &format!("nginx {name}"),
        Command::new("/usr/sbin/nginx")
            .args(["-e", "stderr", "-p"])
            .arg(dir)
            .arg("-c")
            .arg(dir.join(CONFIG)),
    );
    // That somebody answers proves nothing: another process may have taken the port. The file is written once the port is ours.
    let runs = until("nginx listens or ends", SOON, || {
        let listens = fs::read_to_string(dir.join(PID)).is_ok_and(|pid| !pid.is_empty());
        (listens || process.ended().is_some()).then_some(listens)
    });
    runs.then_some(process)
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
}

fn parse(line: &str) -> Logged {
    let words: Vec<&str> = line.split('\t').collect();
    let [ended, took, epoch, request_id, method, target, via] = words[..] else {
        panic!("a line of nginx: {line:?}");
    };
    Logged {
        ended: ended.parse().expect("a time"),
        took: took.parse().expect("a time"),
        epoch: epoch.parse().ok(),
        request_id: request_id.to_owned(),
        method: method.to_owned(),
        target: target.to_owned(),
        via: via.to_owned(),
    }
}

/// One process, so that killing it is all that ends it. `/dynamic/` is what a script would be: never stored, any method.
fn configuration(name: &str, root: &Path, dir: &Path, address: SocketAddr) -> String {
    let (root, dir) = (root.display(), dir.display());
    format!(
        r#"
daemon off;
master_process off;
pid {dir}/pid;
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types;
    log_format joined "$msec\t$request_time\t$http_jet9_epoch\t$http_x_request_id\t$request_method\t$request_uri\t$http_via";
    access_log {dir}/access.log joined;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 100000;
    server {{
        listen {address};
        root {root};
        index index.html;
        etag on;
        absolute_redirect off;
        location / {{ add_header Cache-Control "max-age=600"; }}
        location /dynamic/ {{
            default_type text/plain;
            add_header Cache-Control "no-store";
            return 200 "$request_method $request_uri of side {name}\n";
        }}
    }}
}}
"#
    )
}

const PORT_ATTEMPTS: usize = 8;

/// Its files, in a directory of its own.
const CONFIG: &str = "nginx.conf";
const PID: &str = "pid";
