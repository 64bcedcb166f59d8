//! What does the public conformance suite (github.com/http-tests/cache-tests) say of the built `jet9`?
//!
//! Starts the suite's server and an edge before it, runs the suite's own client against the edge, lets the suite's own rules judge the
//! results (`conformance/judge.mjs` imports them from the checkout; nothing of the suite is copied here), and prints what was lost and why.
//! A loss that no reason is written down for is a failure of the run. The sites and the reasons are the files in `loadtests/conformance/`.

mod known;
mod suite;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use self::known::Known;
use self::suite::{Judged, Kind, Suite};
use crate::servers::{self, Documents};

/// What to measure.
pub(crate) struct Plan {
    pub(crate) suite: PathBuf,
    pub(crate) jet9: PathBuf,
    pub(crate) profile: Profiles,
    pub(crate) runs: usize,
}

/// The sites to measure.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Profiles {
    /// The strictest reading of the standards.
    Rfc,
    /// A hosted site whose owner has chosen nothing.
    Hosted,
    /// One after the other.
    Both,
}

/// A site, and the tests that it may lose.
struct Profile {
    name: &'static str,
    site: &'static str,
    known: Known,
}

const NODE: &str = include_str!("../conformance/node.toml");

impl Profiles {
    fn list(self) -> Vec<Profile> {
        let impossible = include_str!("../conformance/impossible.txt");
        let rfc = || Profile {
            name: "rfc",
            site: include_str!("../conformance/rfc.toml"),
            known: Known::read(&[impossible]),
        };
        let hosted = || Profile {
            name: "hosted",
            site: include_str!("../conformance/hosted.toml"),
            known: Known::read(&[impossible, include_str!("../conformance/hosted.txt")]),
        };
        match self {
            Self::Rfc => vec![rfc()],
            Self::Hosted => vec![hosted()],
            Self::Both => vec![rfc(), hosted()],
        }
    }
}

/// Measures and prints. Each run has a suite server and an edge of its own, so that nothing stored helps the next.
///
/// # Errors
/// When something cannot be run, or a test was lost for no known reason.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let suite = Suite::at(&plan.suite)?;
    println!("{}", suite.describe());
    peers(&suite)?;
    let mut unexplained = 0;
    for profile in plan.profile.list() {
        for number in 1..=plan.runs {
            let judged = measure(&suite, &plan.jet9, &profile)?;
            println!("\nprofile {}, run {number} of {}", profile.name, plan.runs);
            unexplained += report(&judged, &profile.known);
        }
    }
    ensure!(
        unexplained == 0,
        "{unexplained} tests were lost for no known reason"
    );
    Ok(())
}

/// Prints what the suite's authors publish of other proxies.
fn peers(suite: &Suite) -> Result<()> {
    let home = tempfile::tempdir()?;
    println!("\npublished with the suite: required, optimal, check");
    for line in suite.published(home.path())?.lines() {
        let mut parts = line.split('\t');
        print!("  {:<28}", parts.next().unwrap_or_default());
        for count in parts {
            print!("{count:>5}");
        }
        println!();
    }
    Ok(())
}

fn measure(suite: &Suite, jet9: &Path, profile: &Profile) -> Result<Vec<Judged>> {
    let home = tempfile::tempdir()?;
    let origin = suite.serve(home.path())?;
    let documents = Documents {
        name: "suite",
        node: NODE,
        site: profile.site,
    };
    let edge = servers::jet9(jet9, home.path(), origin.address, &documents)?;
    suite.ask(edge.address, home.path())
}

/// Prints the counts and the losses; how many of these have no known reason.
fn report(judged: &[Judged], known: &Known) -> usize {
    for kind in [Kind::Required, Kind::Optimal, Kind::Check] {
        let of_kind = || judged.iter().filter(|judged| judged.kind == kind);
        let passed = of_kind().filter(|judged| judged.passed).count();
        println!("  {:<9}{passed:>4} of {}", kind.as_str(), of_kind().count());
    }
    let lost = judged.iter().filter(|judged| judged.is_loss());
    let mut unexplained = 0;
    for judged in lost {
        let Judged { kind, id, said, .. } = judged;
        println!("  lost: {id} ({}): {said}", kind.as_str());
        let reason = known.reason(id).unwrap_or_else(|| {
            unexplained += 1;
            "NOT KNOWN"
        });
        println!("        {reason}");
    }
    for id in known.all() {
        if judged.iter().any(|judged| judged.id == id && judged.passed) {
            println!("  passed, although written down as lost: {id}");
        }
    }
    unexplained
}
