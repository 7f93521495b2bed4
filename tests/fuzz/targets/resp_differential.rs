#![no_main]
//! See `coracle_fuzz::resp_differential`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::resp_differential::check(data));
