//! See `forebay_fuzz::paths`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::paths(data));
