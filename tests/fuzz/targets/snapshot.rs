#![no_main]
//! See `coracle_fuzz::snapshot`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::snapshot::check(data));
