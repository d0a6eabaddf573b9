//! `marketing_url`; its property is in `src/fuzzing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| course_sharing::fuzzing::marketing_url(data));
