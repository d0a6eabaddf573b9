//! The Catalog stand-in as a process of its own. (being built)

#[path = "lib.rs"]
mod stand_in;
fn main() {}
