#![no_main]
//! See `coracle_fuzz::log_block`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::log_block::check(data));
