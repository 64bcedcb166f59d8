//! See `jet9_cache::fuzzing::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jet9_cache::fuzzing::record(bytes));
