#![no_main]
//! See `coracle_fuzz::checkpoint`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::checkpoint::check(data));
