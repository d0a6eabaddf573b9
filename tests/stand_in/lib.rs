//! A Catalog that behaves as a running course-discovery was seen to. (being built)
