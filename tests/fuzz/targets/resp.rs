#![no_main]
//! See `coracle_fuzz::resp`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::resp::check(data));
