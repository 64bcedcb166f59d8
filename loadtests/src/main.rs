//! Black-box measurements of a running `jet9` beside its peers: one subcommand a scenario.
//!
//! Starts real processes on loopback, on ports that the system gives, drives them with its own client and prints figures with the machine's
//! name. Judges speed by nothing but figures, and conformance by the public suite's own rules. Links none of our crates: what it measures
//! is what anybody could measure.

mod conformance;
mod cpu;
mod failover;
mod hits;
mod load;
mod report;
mod servers;
mod sites;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Black-box measurements of jet9 beside its peers")]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Requests per CPU-second of the server on memory hits over HTTP/1.1, beside nginx in the same run.
    Hits {
        /// The jet9 to measure.
        #[arg(long, default_value = "target/release/jet9")]
        jet9: PathBuf,
        /// Bytes of the stored response.
        #[arg(long, default_value_t = 1024)]
        size: usize,
        /// Seconds of each counted run.
        #[arg(long, default_value_t = 4)]
        seconds: u64,
        /// Counted runs of each server, taken in turn.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Client connections, each with one request under way.
        #[arg(long, default_value_t = 32)]
        connections: usize,
    },
    /// What ten thousand sites cost: the start, one change through the admin API, the memory of each.
    Sites {
        /// The jet9 to measure.
        #[arg(long, default_value = "target/release/jet9")]
        jet9: PathBuf,
        /// Sites, each with two names and a certificate.
        #[arg(long, default_value_t = 10_000)]
        sites: usize,
        /// Changes in each run.
        #[arg(long, default_value_t = 50)]
        changes: usize,
        /// Starts.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// The public conformance suite for HTTP caches, by its own client and rules. Needs Node.js and a checkout of
    /// <https://github.com/http-tests/cache-tests> with its modules (`npm install`).
    Conformance {
        /// The checkout.
        #[arg(long)]
        suite: PathBuf,
        /// The jet9 to measure.
        #[arg(long, default_value = "target/release/jet9")]
        jet9: PathBuf,
        /// The sites to measure.
        #[arg(long, value_enum, default_value = "both")]
        profile: conformance::Profiles,
        /// Runs of each site.
        #[arg(long, default_value_t = 2)]
        runs: usize,
    },
    /// From the commit of a move of the master to the first request on the new side; and the same moves as HAProxy follows them. Needs etcd and haproxy.
    Failover {
        /// The jet9 to measure.
        #[arg(long, default_value = "target/release/jet9")]
        jet9: PathBuf,
        /// Moves that jet9 alone follows.
        #[arg(long, default_value_t = 200)]
        switches: usize,
        /// Moves that all follow; each takes half a minute.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Visitors of each follower.
        #[arg(long, default_value_t = 4)]
        visitors: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().scenario {
        Scenario::Hits {
            jet9,
            size,
            seconds,
            runs,
            connections,
        } => hits::run(&hits::Plan {
            jet9,
            size,
            seconds,
            runs,
            connections,
        }),
        Scenario::Failover {
            jet9,
            switches,
            rounds,
            visitors,
        } => failover::run(&failover::Plan {
            jet9,
            switches,
            rounds,
            visitors,
        }),
        Scenario::Sites {
            jet9,
            sites,
            changes,
            runs,
        } => sites::run(&sites::Plan {
            jet9,
            sites,
            changes,
            runs,
        }),
        Scenario::Conformance {
            suite,
            jet9,
            profile,
            runs,
        } => conformance::run(&conformance::Plan {
            suite,
            jet9,
            profile,
            runs,
        }),
    }
}
