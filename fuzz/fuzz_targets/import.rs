//! See `forebay_fuzz::import`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::import(data));
