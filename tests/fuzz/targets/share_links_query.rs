//! `share_links_query`; its property is in `tests/fuzz/properties`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| course_sharing::fuzzing::share_links_query(data));
