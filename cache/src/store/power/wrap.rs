//! The same over a ring that has turned: segments are reused, what was hit is written again, and the power goes in between.

use super::*;

/// Rounds of a session, 2.3 MB each on average: more than the ring holds, three times.
const STORES: usize = 26;
/// Moments that are tried.
const MOMENTS: usize = 30;

#[tokio::test]
async fn a_ring_that_turned_brings_back_nothing_older_either() {
    let mut run = Run {
        directory: directory(),
        disk: Simulated::default(),
        facts: Vec::new(),
        version: 0,
    };
    for session in 0..2 {
        let bench = open(run.directory.path(), &run.disk).await;
        for n in 0..STORES {
            // Only the turns of the second session are recorded: by then every segment holds something older.
            if session == 1 && n == STORES / 2 {
                run.disk.record();
                let known = run.facts.len() as u64;
                (0..known).for_each(|fact| run.disk.mark(fact));
            }
            run.store(&bench, (n % 3 == 1).then_some(2)).await;
            run.store(&bench, Some(3)).await;
            if n % 7 == 3 {
                run.purge(&bench, (n % 2 == 0).then_some(n % 4)).await;
            }
            // What is hit on disk is written again.
            for n in 0..LENGTHS.len() {
                drop(bench.hit(&path(n)).await);
            }
        }
        bench.cache.close().await;
    }
    let points = run.disk.crash_points();
    let mut kept = 0;
    for point in points.iter().step_by(points.len() / MOMENTS) {
        let seed = point.number as u64;
        for loss in [Loss::Reordered, Loss::Torn(seed)] {
            run.check(point, loss).await;
        }
        kept += run.check(point, Loss::Nothing).await;
    }
    assert!(kept > MOMENTS, "{kept} hits");
}
