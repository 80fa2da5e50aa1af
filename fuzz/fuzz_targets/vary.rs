//! See `forebay_fuzz::vary`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::vary(data));
