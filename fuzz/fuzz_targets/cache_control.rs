//! See `jet9_cache::fuzzing::cache_control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jet9_cache::fuzzing::cache_control(bytes));
