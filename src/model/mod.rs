//! What a course, a marketing URL and an extra column are, for all other modules. Pure; imports none of them.

pub mod course_key;
pub mod extra_columns;
pub mod marketing_url;
