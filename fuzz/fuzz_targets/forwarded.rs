//! See `forebay_fuzz::forwarded`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::forwarded(data));
