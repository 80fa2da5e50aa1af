//! See `forebay_fuzz::differential`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    forebay_fuzz::differential::connection(data);
});
