//! See `forebay_fuzz::http2_head`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::http2_head(data));
