//! See `jet9_cache::fuzzing::targeted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jet9_cache::fuzzing::targeted(bytes));
