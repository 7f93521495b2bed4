#![no_main]
//! See `coracle_fuzz::cluster_map`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::cluster_map::check(data));
