//! Finds the stories, plays them several at a time, and tells what came of each in a line.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::parse;
use super::play::{self, Mode};
use super::selftest;
use super::story::Story;
use super::support::wait::now;

/// Stories that are played at once for each processor: they mostly wait.
const FOR_EACH_PROCESSOR: usize = 3;

/// Plays the stories whose names contain one of these words; all of them without any.
pub(crate) fn run(words: &[String]) -> ExitCode {
    // Failures are told with their stories, not by the threads on which they happen.
    std::panic::set_hook(Box::new(|_| {}));
    let stories = match read(words) {
        Ok(stories) => stories,
        Err(problems) => {
            eprintln!("{}", problems.join("\n"));
            return ExitCode::FAILURE;
        }
    };
    let started = now();
    let mut failed = play_all(stories);
    if words.is_empty()
        && let Err(problem) = selftest::run()
    {
        println!("FAILED selftest: {problem}");
        failed += 1;
    }
    let took = started.elapsed().as_secs_f64();
    println!("{} stories, {failed} failed, {took:.1} s", stories.len());
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Reads the stories; says what is wrong with any of them.
fn read(words: &[String]) -> Result<&'static [Story], Vec<String>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let words: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let entries = fs::read_dir(&directory).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a file").file_name().display().to_string())
        .filter(|name| name.ends_with(".story"))
        .filter(|name| words.is_empty() || words.iter().any(|word| name.contains(*word)))
        .collect();
    names.sort_unstable();
    let (mut stories, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        let text = fs::read_to_string(directory.join(&name)).expect("a text");
        match parse::story(&name, &text) {
            Ok(story) => stories.push(story),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(Vec::leak(stories)) // for the threads that play them, to the end of the process
    } else {
        Err(problems)
    }
}

/// How many failed.
fn play_all(stories: &'static [Story]) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(story) = stories.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !tell(story) {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors * FOR_EACH_PROCESSOR {
            scope.spawn(work);
        }
    });
    failed.into_inner()
}

/// Plays a story in each way, and prints what came of it.
fn tell(story: &'static Story) -> bool {
    let started = now();
    let (mut told, mut problems) = (String::new(), String::new());
    for mode in Mode::ALL.into_iter().filter(|mode| mode.is_of(story)) {
        let outcome = play::play(story, mode);
        let mark = if outcome.is_ok() { "" } else { "!" };
        told += &format!(" {mark}{}", mode.as_str());
        if let Err(problem) = outcome {
            problems += &format!("\n{} over {}: {problem}", story.name, mode.as_str());
        }
    }
    let verdict = if problems.is_empty() {
        "ok    "
    } else {
        "FAILED"
    };
    let took = started.elapsed().as_secs_f64();
    println!("{verdict} {}:{told} ({took:.1} s){problems}", story.name);
    problems.is_empty()
}
