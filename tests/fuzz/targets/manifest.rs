#![no_main]
//! See `coracle_fuzz::manifest`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::manifest::check(data));
