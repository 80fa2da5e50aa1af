//! See `forebay_fuzz::key`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::key(data));
