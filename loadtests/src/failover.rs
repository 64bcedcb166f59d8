//! How fast is a move of the master followed, and what do visitors see of it: by jet9, and by what is in use today?
//!
//! Two measurements in one run. First many moves, followed by jet9 alone: from the sending of the new state to the etcd to the first request on
//! the new side. Then fewer moves, followed at the same moments by jet9 from its etcd, and by HAProxy from checks: with the settings that Patroni
//! publishes, and with checks each 100 ms. Every follower has sides and visitors of its own, all alike.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::servers::{self, Documents, HOST, Server};
use crate::{cpu, report};

mod etcd;
mod sides;
mod visitors;

use etcd::{Commit, Etcd};
use sides::{Asked, Sides};
use visitors::Visitors;

/// What to measure.
pub(crate) struct Plan {
    pub(crate) jet9: PathBuf,
    /// Moves that jet9 alone follows.
    pub(crate) switches: usize,
    /// Moves that all follow.
    pub(crate) rounds: usize,
    /// Visitors of each follower.
    pub(crate) visitors: usize,
}

/// How long nobody is master: what a Pacemaker cluster takes for a planned move.
const GAP: Duration = Duration::from_millis(200);

/// How long the slowest follower may take until a move is over for it: nine seconds of checks, and some more.
const SETTLE: Duration = Duration::from_secs(13);

/// How long a move that jet9 alone follows is given before the next.
const BETWEEN: Duration = Duration::from_millis(250);

/// The name of the cluster and of its site.
const NAME: &str = "bench";

/// What Patroni's documentation publishes for HAProxy.
const PATRONI: &str = "inter 3s fall 3 rise 2 on-marked-down shutdown-sessions";

/// As fast as checks are run in practice.
const FAST: &str = "inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions";

/// Measures and prints.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let home = tempfile::tempdir()?;
    let etcd = Etcd::start(home.path())?;
    let sides = Sides::start()?;
    let mut publisher = Publisher::start(&etcd, &sides)?;
    let jet9 = Follower::jet9(sides, plan, home.path(), &etcd)?;
    println!("{}", cpu::machine());
    alone(plan, &jet9, &mut publisher)?;
    let others = [
        Follower::haproxy("HAProxy, Patroni's settings", PATRONI, home.path(), plan)?,
        Follower::haproxy("HAProxy, checks each 100 ms", FAST, home.path(), plan)?,
    ];
    beside(plan, &jet9, &others, &mut publisher)
}

/// The moves that jet9 alone follows.
fn alone(plan: &Plan, jet9: &Follower, publisher: &mut Publisher<'_>) -> Result<()> {
    jet9.settled(publisher.master)?;
    let (mut from_sending, mut from_answer, mut late) = (Vec::new(), Vec::new(), 0);
    jet9.visitors.errors();
    for _ in 0..plan.switches {
        let old = publisher.master;
        publisher.switching()?;
        thread::park_timeout(Duration::from_millis(20));
        jet9.sides.asked();
        let commit = publisher.moved()?;
        thread::park_timeout(BETWEEN);
        let asked = jet9.sides.asked();
        let first = first_on(&asked, publisher.master).context("the new side was never asked")?;
        from_sending.push(milliseconds(first, commit.sent));
        from_answer.push(milliseconds(first, commit.answered));
        let is_late = |asked: &&Asked| asked.side == old && asked.at > commit.sent;
        late += asked.iter().filter(is_late).count();
    }
    println!(
        "\n{} moves, {} visitors, milliseconds until the first request reached the new side",
        plan.switches, plan.visitors
    );
    println!("{:<44} {:>8} {:>8} {:>8}", "", "p50", "p99", "max");
    for (name, mut figures) in [
        ("from the sending of the state to the etcd", from_sending),
        ("from the etcd's word that it is committed", from_answer),
    ] {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| percentile(&figures, share);
        println!(
            "{name:<44} {:>8.1} {:>8.1} {:>8.1}",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    println!(
        "requests on the old side once the new state was sent: {late}; errors of visitors: {}",
        jet9.visitors.errors()
    );
    Ok(())
}

/// The moves that all follow.
fn beside(
    plan: &Plan,
    jet9: &Follower,
    others: &[Follower],
    publisher: &mut Publisher<'_>,
) -> Result<()> {
    let all: Vec<&Follower> = std::iter::once(jet9).chain(others).collect();
    let mut figures: Vec<Figures> = all.iter().map(|_| Figures::default()).collect();
    for follower in &all {
        follower.set(publisher.master);
    }
    for _ in 0..plan.rounds {
        thread::park_timeout(SETTLE);
        for follower in &all {
            follower.settled(publisher.master)?;
            follower.sides.asked();
            follower.visitors.errors();
            follower.visitors.longest();
        }
        let old = publisher.master;
        publisher.switching()?;
        let demoted = now();
        all.iter()
            .for_each(|follower| follower.sides.set(old, false));
        thread::park_timeout(GAP);
        all.iter()
            .for_each(|follower| follower.sides.set(1 - old, true));
        let promoted = publisher.moved()?.sent;
        thread::park_timeout(SETTLE);
        for (follower, figures) in all.iter().zip(&mut figures) {
            figures.note(follower, old, demoted, promoted)?;
        }
    }
    println!(
        "\n{} moves, each with {} ms without a master, {} visitors of each follower",
        plan.rounds,
        GAP.as_millis(),
        plan.visitors
    );
    for (follower, figures) in all.iter().zip(&figures) {
        report::head(follower.name);
        report::row("  ms until the new side", &figures.followed, 0);
        report::row("  requests on the old side", &figures.wrong, 0);
        report::row("  errors of visitors", &figures.errors, 0);
        report::row("  ms of the longest wait", &figures.longest, 0);
    }
    Ok(())
}

/// What the moves were for one follower.
#[derive(Default)]
struct Figures {
    /// Milliseconds from the promotion to the first request on the new side.
    followed: Vec<f64>,
    /// Requests that reached the old side after it was demoted.
    wrong: Vec<f64>,
    errors: Vec<f64>,
    longest: Vec<f64>,
}

impl Figures {
    fn note(
        &mut self,
        follower: &Follower,
        old: usize,
        demoted: Instant,
        promoted: Instant,
    ) -> Result<()> {
        let asked = follower.sides.asked();
        let first = first_on(&asked, 1 - old)
            .with_context(|| format!("{} did not follow", follower.name))?;
        let wrong = asked
            .iter()
            .filter(|asked| asked.side == old && asked.at > demoted);
        self.followed.push(milliseconds(first, promoted));
        self.wrong.push(wrong.count() as f64);
        self.errors.push(follower.visitors.errors() as f64);
        self.longest.push(follower.visitors.longest());
        Ok(())
    }
}

/// Who follows: a proxy with sides and visitors of its own.
struct Follower {
    name: &'static str,
    visitors: Visitors,
    sides: Sides,
    _server: Server,
}

impl Follower {
    fn jet9(sides: Sides, plan: &Plan, home: &Path, etcd: &Etcd) -> Result<Self> {
        let node = format!(
            "[node]\nid = \"bench\"\nzone = \"local\"\ndata_dir = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = []\nadmin = []\n\
             metrics = \"127.0.0.1:0\"\n[cache]\nmemory = \"64MiB\"\ndisk = []\n[state]\nkind = \"directory\"\npath = \"state\"\n\
             [state.clusters]\nkind = \"etcd\"\nendpoints = [{}]\n[log]\naccess = {{ format = \"off\" }}\n",
            etcd.endpoints()
        );
        let site = format!(
            "id = \"{NAME}\"\ndomains = [\"{HOST}\"]\nhttps = \"both\"\n[origin]\ncluster = \"{NAME}\"\n[cache]\nprofile = \"rfc\"\n"
        );
        let documents = Documents {
            name: NAME,
            node: &node,
            site: &site,
        };
        let server = servers::jet9(&plan.jet9, home, sides.addresses[0], &documents)?;
        Ok(Self::of("jet9, from the etcd", sides, server, plan))
    }

    fn haproxy(name: &'static str, checks: &str, home: &Path, plan: &Plan) -> Result<Self> {
        let sides = Sides::start()?;
        let address = servers::free_address()?;
        let configuration = format!(
            "global\n  maxconn 2000\ndefaults\n  mode http\n  retries 2\n  timeout client 30m\n  timeout connect 4s\n  timeout server 30m\n  \
             timeout check 5s\nlisten sides\n  bind {address}\n  option httpchk\n  http-check expect status 200\n  default-server {checks}\n  \
             server a {} maxconn 100 check\n  server b {} maxconn 100 check\n",
            sides.addresses[0], sides.addresses[1]
        );
        let file = home.join(format!("haproxy-{}.cfg", address.port()));
        fs::write(&file, configuration)?;
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stderr(File::create(file.with_extension("log"))?)
            .spawn()
            .context("starting haproxy (is it installed?)")?;
        let server = Server::new(address, child);
        servers::wait_for(address)?;
        Ok(Self::of(name, sides, server, plan))
    }

    fn of(name: &'static str, sides: Sides, server: Server, plan: &Plan) -> Self {
        Self {
            name,
            visitors: Visitors::start(server.address, plan.visitors),
            sides,
            _server: server,
        }
    }

    /// This side is master, and the other is not.
    fn set(&self, master: usize) {
        self.sides.set(master, true);
        self.sides.set(1 - master, false);
    }

    /// Waits until visitors are answered, by this side alone.
    fn settled(&self, master: usize) -> Result<()> {
        for _ in 0..200 {
            self.sides.asked();
            let before = self.visitors.answers();
            self.visitors.errors();
            thread::park_timeout(Duration::from_millis(100));
            let asked = self.sides.asked();
            let is_alone = asked.iter().all(|asked| asked.side == master);
            let is_served = self.visitors.answers() > before + 1 && self.visitors.errors() == 0;
            if is_alone && is_served && !asked.is_empty() {
                return Ok(());
            }
        }
        anyhow::bail!("{} does not settle", self.name)
    }
}

/// Publishes the moves of jet9's sides to the etcd.
struct Publisher<'a> {
    etcd: &'a Etcd,
    addresses: [SocketAddr; 2],
    epoch: u64,
    master: usize,
}

impl<'a> Publisher<'a> {
    /// The first side is master.
    fn start(etcd: &'a Etcd, sides: &Sides) -> Result<Self> {
        let mut publisher = Self {
            etcd,
            addresses: sides.addresses,
            epoch: 0,
            master: 0,
        };
        publisher.publish(Some(0))?;
        Ok(publisher)
    }

    fn switching(&mut self) -> Result<Commit> {
        self.publish(None)
    }

    /// The other side is master.
    fn moved(&mut self) -> Result<Commit> {
        self.master = 1 - self.master;
        self.publish(Some(self.master))
    }

    fn publish(&mut self, master: Option<usize>) -> Result<Commit> {
        self.epoch += 1;
        let (phase, master) = match master {
            Some(side) => ("serving", ["\"a\"", "\"b\""][side]),
            None => ("switching", "null"),
        };
        let [a, b] = self.addresses;
        let document = format!(
            "{{\"v\":1,\"cluster\":\"{NAME}\",\"epoch\":{},\"phase\":\"{phase}\",\"master\":{master},\"fencing\":\"confirmed\",\
             \"hold_ms\":10000,\"reason\":\"standby\",\"prev\":{{\"ended\":\"demoted\"}},\
             \"sides\":{{\"a\":{{\"addrs\":[\"{a}\"]}},\"b\":{{\"addrs\":[\"{b}\"]}}}}}}",
            self.epoch
        );
        self.etcd.publish(NAME, &document)
    }
}

/// When this side was first asked.
fn first_on(asked: &[Asked], side: usize) -> Option<Instant> {
    let on_it = asked.iter().filter(|asked| asked.side == side);
    on_it.map(|asked| asked.at).min()
}

/// From one moment to another; negative where it came first.
fn milliseconds(at: Instant, from: Instant) -> f64 {
    let later = at.saturating_duration_since(from).as_secs_f64();
    let earlier = from.saturating_duration_since(at).as_secs_f64();
    (later - earlier) * 1_000.0
}

/// The figure below which this share of sorted ones is (nearest rank).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize - 1;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::disallowed_methods, reason = "a load generator measures time")]
fn now() -> Instant {
    Instant::now()
}
