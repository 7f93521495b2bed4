#![no_main]
//! See `coracle_fuzz::frame`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::frame::check(data));
