//! See `jet9_cache::fuzzing::superblock`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jet9_cache::fuzzing::superblock(bytes));
