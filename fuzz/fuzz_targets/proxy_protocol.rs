//! See `forebay_fuzz::proxy_protocol`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| forebay_fuzz::proxy_protocol(data));
