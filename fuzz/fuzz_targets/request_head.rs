//! See `forebay_fuzz::request_head`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::request_head(data));
