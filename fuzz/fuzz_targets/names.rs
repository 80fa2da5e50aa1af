//! See `forebay_fuzz::names`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::names(data));
