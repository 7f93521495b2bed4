#![no_main]
//! See `coracle_fuzz::dump`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::dump::check(data));
