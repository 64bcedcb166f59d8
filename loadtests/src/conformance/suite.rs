//! A checkout of the public suite: its server, its client and its rules, run with Node.js.
//!
//! Knows how the suite's own scripts are started (its `package.json`) and nothing of what its tests ask.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::servers::{self, Server};

/// How long the suite's client may take. It takes about a minute where the machine is not busy.
const CLIENT_MAX: Duration = Duration::from_secs(900);

const PAUSE: Duration = Duration::from_millis(100);

/// A checkout that can be run.
pub(super) struct Suite {
    root: PathBuf,
}

/// How much a test matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The standard says so.
    Required,
    /// A good cache does so.
    Optimal,
    /// Only observed: neither answer is wrong.
    Check,
}

/// What the suite says of one test.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) kind: Kind,
    pub(super) passed: bool,
    pub(super) id: String,
    pub(super) said: String,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optimal => "optimal",
            Self::Check => "check",
        }
    }
}

impl Judged {
    /// Whether something is missing.
    pub(super) fn is_loss(&self) -> bool {
        !self.passed && self.kind != Kind::Check
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut parts = line.splitn(4, '\t');
        let kind = match parts.next()? {
            "required" => Kind::Required,
            "optimal" => Kind::Optimal,
            "check" => Kind::Check,
            _ => return None,
        };
        Some(Self {
            kind,
            passed: parts.next()? == "passed",
            id: parts.next()?.to_owned(),
            said: parts.next()?.to_owned(),
        })
    }
}

impl Suite {
    /// The checkout in this folder, which must have what it needs.
    pub(super) fn at(root: &Path) -> Result<Self> {
        let root = fs::canonicalize(root).with_context(|| root.display().to_string())?;
        let missing = |what: &str| !root.join(what).exists();
        if missing("test-engine/cli.mjs") {
            bail!(
                "{} is no checkout of https://github.com/http-tests/cache-tests",
                root.display()
            );
        }
        if missing("node_modules") {
            bail!(
                "the suite needs its modules: run `npm install` in {}",
                root.display()
            );
        }
        Ok(Self { root })
    }

    /// Which version of the suite runs on what.
    pub(super) fn describe(&self) -> String {
        let commit = self.says(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
        let node = self.says(Command::new("node").arg("--version"));
        format!("http-tests/cache-tests {commit}, Node.js {node}")
    }

    fn says(&self, command: &mut Command) -> String {
        let output = command.current_dir(&self.root).output();
        let output = output.ok().filter(|output| output.status.success());
        output.map_or_else(
            || "of unknown version".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    }

    /// Starts the suite's server: the origin.
    pub(super) fn serve(&self, home: &Path) -> Result<Server> {
        let address = servers::free_address()?;
        let child = self
            .script("test-engine/server/server.mjs")
            .env("npm_config_protocol", "http")
            .env("npm_config_port", address.port().to_string())
            .env("npm_config_pidfile", home.join("suite.pid"))
            .stdout(Stdio::null())
            .spawn();
        let server = Server::new(address, child.context("starting node (is it installed?)")?);
        servers::wait_for(address)?;
        Ok(server)
    }

    /// Runs the suite's client against this address, and has the results judged.
    pub(super) fn ask(&self, address: SocketAddr, home: &Path) -> Result<Vec<Judged>> {
        let results = home.join("results.json");
        let client = self
            .script("test-engine/cli.mjs")
            .env("npm_config_base", format!("http://{address}"))
            .env("npm_package_config_id", "") // all tests
            .stdout(File::create(&results)?)
            .spawn();
        finish(client.context("starting the suite's client")?)?;
        self.judge(&results, home)
    }

    fn judge(&self, results: &Path, home: &Path) -> Result<Vec<Judged>> {
        let lines = self.judges(home, Some(results))?;
        let judged = lines
            .lines()
            .map(|line| Judged::of_line(line).with_context(|| line.to_owned()));
        judged.collect()
    }

    /// The results of other proxies that come with the suite, judged alike: a name and three counts a line, tabs between them.
    pub(super) fn published(&self, home: &Path) -> Result<String> {
        self.judges(home, None)
    }

    fn judges(&self, home: &Path, results: Option<&Path>) -> Result<String> {
        let script = home.join("judge.mjs");
        fs::write(&script, include_str!("../../conformance/judge.mjs"))?;
        let output = Command::new("node")
            .arg(script)
            .arg(&self.root)
            .args(results)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "the results could not be judged");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn script(&self, path: &str) -> Command {
        let mut command = Command::new("node");
        command
            .arg("--no-warnings")
            .arg(path)
            .current_dir(&self.root);
        command
    }
}

/// Waits for a process to succeed.
fn finish(mut child: Child) -> Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "the suite's client failed: {status}");
            return Ok(());
        }
        if waited >= CLIENT_MAX {
            child.kill()?;
            child.wait()?;
            bail!("the suite's client did not end within {CLIENT_MAX:?}");
        }
        std::thread::park_timeout(PAUSE);
        waited += PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_judge_is_a_judgement() {
        let judged = Judged::of_line("optimal\tlost\ta-test\tAssertion: why").unwrap();
        assert!(judged.is_loss());
        assert_eq!(
            (judged.id.as_str(), judged.said.as_str()),
            ("a-test", "Assertion: why")
        );
        let observed = Judged::of_line("check\tlost\tb\t").unwrap();
        assert!(!observed.is_loss());
        assert_eq!(Judged::of_line("other\tpassed\tc\t"), None);
    }
}
