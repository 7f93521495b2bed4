#![no_main]
//! See `coracle_fuzz::table`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::table::check(data));
