//! `marketing_url`; its property is in `tests/fuzz/properties`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| course_sharing::fuzzing::marketing_url(data));
