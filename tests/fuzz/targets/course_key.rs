//! `course_key`; its property is in `tests/fuzz/properties`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| course_sharing::fuzzing::course_key(data));
