#![no_main]
//! See `coracle_fuzz::batch`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::batch::check(data));
