//! The targets over their corpora and seeded mutations of them; and that their time grows as their input does.

use std::fs;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use super::*;

/// Mutations that are tried on each target.
const MUTATIONS: usize = 2500;
/// What fields are made of.
const WORDS: [&[u8]; 16] = [
    b",",
    b"\"",
    b"\\",
    b"=",
    b";",
    b" ",
    b"\n",
    b"-",
    b"W/",
    b"*",
    b"0",
    b"99999999999999999999",
    b"max-age=",
    b"bytes=",
    b"(",
    b"\xff",
];

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    /// One change somewhere.
    fn mutate(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below(bytes.len() - at + 1);
        match self.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.extend_from_within(at..end),
            2 => drop(bytes.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
            3 => drop(bytes.splice(at..end, others[self.below(others.len())].iter().copied())),
            _ => {
                let with = u8::try_from(self.below(256)).unwrap();
                drop(bytes.splice(at..(at + 1).min(bytes.len()), [with]));
            }
        }
        bytes.truncate(300);
    }
}

/// The committed inputs of a target, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(directory).expect("a corpus for each target");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn no_corpus_and_no_mutation_of_it_breaks_a_target() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 3, "{name}");
        inputs.iter().for_each(|input| target(input));
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut input = Vec::new();
        for round in 0..MUTATIONS {
            if round % 8 == 0 {
                input.clone_from(&inputs[dice.below(inputs.len())]);
            }
            dice.mutate(&mut input, &inputs);
            let told = input.clone();
            if std::panic::catch_unwind(|| target(&told)).is_err() {
                panic!("{name}: {:?}", input.escape_ascii().to_string());
            }
        }
    }
}

/// The time of this thread on a processor, in nanoseconds: others that share the machine do not count.
fn processor_time() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn time_of(target: Target, input: &[u8], length: usize) -> i64 {
    let long: Vec<u8> = input.iter().copied().cycle().take(length).collect();
    let run = || {
        let begun = processor_time();
        target(&long);
        processor_time() - begun
    };
    (0..3).map(|_| run()).min().unwrap_or_default()
}

#[test]
fn four_times_the_input_takes_nowhere_near_sixteen_times_the_time() {
    const SLACK: i64 = 2_000_000;
    for (name, target) in TARGETS {
        for input in corpus(name).iter().filter(|input| !input.is_empty()) {
            let (short, long) = (
                time_of(target, input, 16 << 10),
                time_of(target, input, 64 << 10),
            );
            let shown = input.escape_ascii();
            assert!(
                long <= 9 * short + SLACK,
                "{name}: {shown}: {short} ns, {long} ns"
            );
        }
    }
}
