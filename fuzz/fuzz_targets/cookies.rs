//! See `forebay_fuzz::cookies`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::cookies(data));
