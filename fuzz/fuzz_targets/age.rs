//! See `jet9_cache::fuzzing::age`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jet9_cache::fuzzing::age(bytes));
