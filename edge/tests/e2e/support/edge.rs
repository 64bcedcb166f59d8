//! A running edge: the built `jet9`, its addresses, and every door that the contract gives it.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::access_log::AccessLog;
use super::http1::{Client, Response, get};
use super::http2::Http2;
use super::process::Process;
use super::scene::{Scene, Stage};
use super::setup::Files;
use super::wait::{SOON, until, until_true};

/// The program under test.
pub(crate) const JET9: &str = env!("CARGO_BIN_EXE_jet9");

/// How the program is run with these files.
pub(crate) type Program = fn(&Files) -> Command;

/// A running edge.
pub(crate) struct Jet9 {
    pub(crate) files: Files,
    pub(crate) bound: Bound,
    pub(crate) process: Arc<Process>,
    stage: Stage,
    program: Program,
}

/// The addresses that it chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Jet9 {
    /// Starts it with these files, and waits until it is ready.
    pub(crate) fn start(scene: &Scene, files: Files) -> Self {
        Self::start_as(command, scene, files)
    }

    /// As [`Jet9::start`], by another program than `jet9` itself.
    pub(crate) fn start_as(program: Program, scene: &Scene, files: Files) -> Self {
        let stage = scene.stage();
        let (process, bound) = run(&stage, program, &files);
        let edge = Self {
            files,
            bound,
            process,
            stage,
            program,
        };
        edge.wait_until_ready();
        edge
    }

    /// Starts it again, on other ports; it must have ended.
    pub(crate) fn start_again(&mut self) {
        self.start_unready();
        self.wait_until_ready();
    }

    /// As [`Jet9::start_again`], where it is not expected to become ready.
    pub(crate) fn start_unready(&mut self) {
        self.process.kill();
        (self.process, self.bound) = run(&self.stage, self.program, &self.files);
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Asks it to read its documents again.
    pub(crate) fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// A client in clear text.
    pub(crate) fn clear(&self) -> Client {
        Client::clear(self.bound.http)
    }

    /// A client over TLS that asks for the certificate of `name`.
    pub(crate) fn tls(&self, name: &str) -> Client {
        Client::tls(self.bound.https, &self.files.roots, name)
    }

    /// A client over HTTP/2.
    pub(crate) fn http2(&self, name: &str) -> Http2 {
        Http2::connect(self.bound.https, &self.files.roots, name)
    }

    /// One `GET` in clear text, on a connection of its own.
    pub(crate) fn get(&self, host: &str, target: &str) -> Response {
        self.clear().ask(get(host, target))
    }

    /// One call of the admin API over the Unix socket.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &Value) -> Response {
        let mut client = Client::unix(&self.files.dir.join("data/admin.sock"));
        client.ask(admin_request(method, path, "", body))
    }

    /// One call of the admin API over TCP, with the token that the edge wrote.
    pub(crate) fn admin_over_tcp(&self, method: &str, path: &str, body: &Value) -> Response {
        let authorization = format!("Authorization: Bearer {}\r\n", self.token());
        Client::clear(self.bound.admin).ask(admin_request(method, path, &authorization, body))
    }

    /// The token of its administrator.
    pub(crate) fn token(&self) -> String {
        let path = self.files.dir.join("data/admin.token");
        let token = fs::read_to_string(path).expect("a token");
        token.trim().to_owned()
    }

    /// Runs `jet9` as a client of this edge.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let socket = self.files.dir.join("data/admin.sock");
        Command::new(JET9)
            .args(arguments)
            .env("JET9_ADMIN", format!("unix:{}", socket.display()))
            .output()
            .expect("a program")
    }

    /// Its metrics: the name with its labels, and the value.
    pub(crate) fn metrics(&self) -> HashMap<String, f64> {
        let answer = Client::clear(self.bound.metrics).ask(get("localhost", "/metrics"));
        assert_eq!(answer.status, 200);
        let text = answer.text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect()
    }

    /// The sum of a metric over all labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let is_it = |sample: &str| sample.split('{').next() == Some(name);
        let metrics = self.metrics();
        let samples = metrics.iter().filter(|(sample, _)| is_it(sample));
        samples.map(|(_, value)| value).sum()
    }

    /// The sum of a metric over the samples that have this label.
    pub(crate) fn metric_of(&self, name: &str, label: &str) -> f64 {
        let is_it = |sample: &str| sample.starts_with(name) && sample.contains(label);
        let metrics = self.metrics();
        let samples = metrics.iter().filter(|(sample, _)| is_it(sample));
        samples.map(|(_, value)| value).sum()
    }

    /// Its access log.
    pub(crate) fn access_log(&self) -> AccessLog {
        AccessLog(self.files.dir.join("access.log"))
    }

    /// Whether it still runs and answers.
    pub(crate) fn is_alive(&self) -> bool {
        let answer = Client::clear(self.bound.metrics).ask(get("localhost", "/livez"));
        self.process.ended().is_none() && answer.status == 200
    }

    fn wait_until_ready(&self) {
        until_true("the edge is ready", || {
            let answer = Client::clear(self.bound.metrics).ask(get("localhost", "/readyz"));
            answer.status == 200
        });
    }
}

/// Runs `jet9` with a node file to its end; for node files that it must refuse.
pub(crate) fn run_refused(scene: &Scene, files: &Files, limit: Duration) -> Arc<Process> {
    let process = scene.spawn("jet9", &mut command(files));
    process.wait(limit);
    process
}

fn run(stage: &Stage, program: Program, files: &Files) -> (Arc<Process>, Bound) {
    let process = stage.spawn("jet9", &mut program(files));
    let bound = until("the edge listens", SOON, || {
        assert_eq!(process.ended(), None, "{}", process.words());
        process.out.find(bound)
    });
    (process, bound)
}

fn command(files: &Files) -> Command {
    let mut command = Command::new(JET9);
    command
        .args(["run", "--config"])
        .arg(files.dir.join("node.toml"));
    command
}

/// The line of bound addresses.
fn bound(line: &str) -> Option<Bound> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["event"] != "listening" {
        return None;
    }
    let address = |value: &Value| value.as_str()?.parse().ok();
    let first = |name: &str| line[name].as_array()?.iter().find_map(address);
    Some(Bound {
        http: first("http")?,
        https: first("https")?,
        admin: first("admin")?,
        metrics: address(&line["metrics"])?,
    })
}

fn admin_request(method: &str, path: &str, fields: &str, body: &Value) -> String {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
