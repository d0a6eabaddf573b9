//! What only the real thing can show: a real broker, real databases, and a Catalog stand-in.
//!
//! One module a subject; `support` starts and finds what they need.

mod catalog_traps;
mod reconcile;
#[path = "../stand_in/lib.rs"]
mod stand_in;
mod store;
mod support;
