//! The guard of a side, as `deploy/guard` configures it for nginx and Apache: who asks under another epoch reaches no application
//! (`docs/in-band-guard.md`).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::http1::{Client, Response};
use super::support::nginx::{Nginx, free_address};
use super::support::origin::Origin;
use super::support::scene::{Scene, scene};
use super::support::setup::Setup;
use super::support::wait::{SOON, until, until_true};

const LIMIT: Duration = Duration::from_secs(60);

/// The other web server of Debian. Its package may be installed for this without its service.
const APACHE: &str = "/usr/sbin/apache2";

/// A web server with our guard, in front of an application.
struct Guarded {
    address: SocketAddr,
}

/// Whom the guard takes for this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Local {
    Loopback,
    Nobody,
}

impl Guarded {
    fn ask(&self, method: &str, target: &str, fields: &str) -> Response {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n");
        let mut client = Client::clear(self.address);
        client.send(request);
        client.answer(method).expect("an answer")
    }

    fn ask_under(&self, epoch: &str) -> Response {
        self.ask("GET", "/", &format!("Jet9-Epoch: {epoch}\r\n"))
    }
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/guard")
        .join(file)
}

/// Runs `jet9-guard` before the server starts: there is nothing to be reloaded.
fn set(dir: &Path, epoch: &str) {
    let status = Command::new("sh")
        .arg(deploy("jet9-guard"))
        .arg(epoch)
        .env("JET9_GUARD_DIR", dir)
        .env("JET9_GUARD_RELOAD", "true")
        .status();
    assert!(status.expect("a shell").success());
}

/// A directory with the epoch and our files, for this place and for those who are local.
fn prepare(scene: &Scene, name: &str, epoch: &str, local: Local) -> PathBuf {
    let dir = scene.dir().join(name);
    fs::create_dir_all(&dir).expect("a directory");
    set(&dir, epoch);
    for file in ["nginx-http.conf", "nginx-server.conf", "apache.conf"] {
        let text = fs::read_to_string(deploy(file)).expect("a file");
        let mut text = text.replace("/run/jet9", &dir.display().to_string());
        if local == Local::Nobody {
            text = text
                .replace("127.0.0.0/8", "192.0.2.0/24")
                .replace("(127", "(192");
        }
        fs::write(dir.join(file), text).expect("a file");
    }
    dir
}

fn nginx(scene: &Scene, application: &Origin, epoch: &str, local: Local) -> Guarded {
    let name = format!("nginx-{epoch}-{}", local == Local::Nobody);
    let dir = prepare(scene, &name, epoch, local);
    let (shown, application) = (dir.display(), application.address);
    let nginx = Nginx::configured(scene, &name, &dir, |address| {
        format!(
            r"daemon off;
master_process off;
pid {shown}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {shown}/body;
    proxy_temp_path {shown}/proxy;
    fastcgi_temp_path {shown}/fastcgi;
    uwsgi_temp_path {shown}/uwsgi;
    scgi_temp_path {shown}/scgi;
    include {shown}/nginx-http.conf;
    server {{
        listen {address};
        include {shown}/nginx-server.conf;
        location / {{ proxy_pass http://{application}; }}
        location /own {{ add_header X-Own 1; proxy_pass http://{application}; }}
    }}
}}
"
        )
    });
    Guarded {
        address: nginx.address,
    }
}

fn apache(scene: &Scene, application: &Origin, epoch: &str, local: Local) -> Guarded {
    let name = format!("apache-{epoch}-{}", local == Local::Nobody);
    let dir = prepare(scene, &name, epoch, local);
    let (shown, application) = (dir.display(), application.address);
    let modules: String = [
        "mpm_event",
        "authz_core",
        "headers",
        "proxy",
        "proxy_http",
        "rewrite",
    ]
    .map(|module| format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"))
    .concat();
    for _ in 0..8 {
        let address = free_address();
        let configuration = format!(
            r#"{modules}
ServerName site.test
Listen {address}
DefaultRuntimeDir {shown}
PidFile {shown}/pid
ErrorLog /dev/stderr
Mutex pthread
User www-data
Group www-data
Include {shown}/guard.apache
<VirtualHost *>
    Include {shown}/apache.conf
    ProxyPass "/" "http://{application}/"
</VirtualHost>
"#
        );
        fs::write(dir.join("apache.conf.d"), configuration).expect("a file");
        // One process: killing it is all that ends it.
        let process = scene.spawn(
            &name,
            Command::new(APACHE)
                .args(["-X", "-d"])
                .arg(&dir)
                .arg("-f")
                .arg(dir.join("apache.conf.d")),
        );
        let runs = until("apache listens or ends", SOON, || {
            let listens = fs::read_to_string(dir.join("pid")).is_ok_and(|pid| !pid.is_empty());
            (listens || process.ended().is_some()).then_some(listens)
        });
        if runs {
            until_true("apache accepts", || {
                std::net::TcpStream::connect(address).is_ok()
            });
            return Guarded { address };
        }
    }
    panic!("no port for apache");
}

/// An application that would like to speak for its side.
fn application() -> Origin {
    Origin::start(|_, wire| {
        wire.content();
        let fields = "Jet9-Epoch: 41;ttl=99999\r\nJet9-Not-Processed: ?1\r\n";
        wire.answer("200 OK", fields, b"page")
    })
}

fn refused(answer: &Response, own: &str) {
    assert_eq!(answer.status, 421);
    assert_eq!(answer.field("jet9-epoch"), Some(own));
    assert_eq!(answer.field("jet9-not-processed"), Some("?1"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
}

fn accepted(answer: &Response, own: &str) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), "page");
    assert_eq!(answer.field("jet9-epoch"), Some(own));
    assert_eq!(answer.field("jet9-not-processed"), None);
}

type Start = fn(&Scene, &Origin, &str, Local) -> Guarded;

fn a_guard_refuses_what_is_not_its_epoch(scene: &Scene, start: Start) {
    let application = application();
    let side = start(scene, &application, "42", Local::Loopback);
    accepted(&side.ask_under("42"), "42");
    accepted(
        &side.ask("POST", "/", "Jet9-Epoch: 42\r\nContent-Length: 0\r\n"),
        "42",
    );
    accepted(&side.ask("GET", "/", ""), "42");
    let reached = application.seen().len();
    for other in [
        "41", "43", "0", "4", "422", "042", "42;ttl=1", "none", "42, 42", "-42", "%34%32",
    ] {
        refused(&side.ask_under(other), "42");
    }
    let post = "Jet9-Epoch: 41\r\nContent-Length: 4\r\n";
    refused(&side.ask("POST", "/own", &format!("{post}\r\nwrit")), "42");
    assert_eq!(application.seen().len(), reached, "who let them through?");
    let asked = "/.well-known/jet9-guard";
    let told = side.ask("GET", asked, "Jet9-Epoch: 42\r\n");
    assert_eq!((told.status, told.field("jet9-epoch")), (204, Some("42")));
    refused(&side.ask("GET", asked, "Jet9-Epoch: 41\r\n"), "42");

    // Not master: nothing that an edge can say is right.
    let reserve = start(scene, &application, "0", Local::Loopback);
    for any in ["0", "42", "none"] {
        refused(&reserve.ask_under(any), "0");
    }
    // From elsewhere, an epoch is needed.
    let remote = start(scene, &application, "42", Local::Nobody);
    refused(&remote.ask("GET", "/", ""), "42");
    accepted(&remote.ask_under("42"), "42");
}

#[test]
fn nginx_refuses_what_is_not_its_epoch() {
    scene(LIMIT, |scene| {
        a_guard_refuses_what_is_not_its_epoch(scene, nginx);
    });
}

#[test]
fn apache_refuses_what_is_not_its_epoch() {
    scene(LIMIT, |scene| {
        a_guard_refuses_what_is_not_its_epoch(scene, apache);
    });
}

#[test]
fn a_request_of_the_edge_passes_the_guard_of_the_master_and_no_other() {
    scene(LIMIT, |scene| {
        let application = application();
        let master = nginx(scene, &application, "1", Local::Nobody);
        let edge = Setup::of(Cluster::of_one("c-1", master.address).guarded()).start(scene);
        let answer = edge.get("site.test", "/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "page"));
        // The cluster says that this side is master; it does not know of it.
        let untouched = self::application();
        let other = nginx(scene, &untouched, "0", Local::Nobody);
        let cluster = Cluster {
            epoch: 2,
            ..Cluster::of_one("c-1", other.address).guarded()
        };
        edge.files.publish(&cluster);
        until_true("the side is refused", || {
            edge.get("site.test", "/other").status != 200
        });
        assert!(untouched.seen().is_empty());
    });
}

#[test]
fn a_post_that_a_guard_refused_is_processed_once_when_the_edge_has_heard_of_its_epoch() {
    scene(LIMIT, |scene| {
        let application = application();
        let side = nginx(scene, &application, "3", Local::Nobody);
        let first = Cluster::of_one("c-1", side.address).guarded();
        let edge = Setup::of(first.clone()).start(scene);
        let mut client = edge.clear();
        client.send("POST /pay HTTP/1.1\r\nHost: site.test\r\nContent-Length: 3\r\n\r\nsum");
        until_true("it waits for the epoch of the guard", || {
            edge.metric("jet9_origin_held_requests") == 1.0
        });
        assert_eq!(application.count("/pay"), 0);
        edge.files.publish(&Cluster { epoch: 3, ..first });
        let answer = client.answer("POST").expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "page"));
        assert_eq!(application.count("/pay"), 1);
        assert_eq!(answer.field("jet9-epoch"), None, "what is it to a visitor?");
    });
}

#[test]
fn an_application_that_speaks_like_a_guard_is_answered_by_where_no_guard_is_named() {
    scene(LIMIT, |scene| {
        let application = Origin::start(|_, wire| {
            wire.content();
            let fields = "Jet9-Epoch: 9\r\nJet9-Not-Processed: ?1\r\n";
            wire.answer("421 Misdirected Request", fields, b"own")
        });
        let cluster = Cluster::of_one("c-1", application.address);
        let edge = Setup::of(cluster.clone()).start(scene);
        let check = |method: &str, target: &str| {
            let mut client = edge.clear();
            client.send(format!(
                "{method} {target} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n"
            ));
            client.answer(method).expect("an answer")
        };
        for (method, target) in [("GET", "/get"), ("POST", "/post")] {
            let answer = check(method, target);
            assert_eq!((answer.status, answer.text().as_str()), (421, "own"));
            assert_eq!(answer.field("jet9-not-processed"), None);
            assert_eq!(application.count(target), 1);
        }
        assert_eq!(edge.metric("jet9_origin_held_requests"), 0.0);
        // The same words, and a guard is named: then it is believed, and waited for.
        let guarded = Cluster {
            epoch: 2,
            ..cluster.guarded()
        };
        edge.files.publish(&guarded);
        until_true("the epoch is in force", || {
            edge.metric("jet9_cluster_epoch") == 2.0
        });
        let mut client = edge.clear();
        client.send("GET /held HTTP/1.1\r\nHost: site.test\r\n\r\n");
        until_true("it is held", || {
            edge.metric("jet9_origin_held_requests") == 1.0
        });
    });
}
