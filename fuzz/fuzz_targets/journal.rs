//! See `jet9_cache::fuzzing::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jet9_cache::fuzzing::journal(bytes));
