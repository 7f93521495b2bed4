#![no_main]
//! See `coracle_fuzz::log_dir`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::log_dir::check(data));
