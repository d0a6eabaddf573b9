//! What a course, a marketing URL and an extra column are, and how a text is cut, for all other modules. Pure; imports
//! none of them.

pub mod course_key;
pub mod extra_columns;
pub mod marketing_url;
pub mod text;
