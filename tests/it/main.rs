//! What only the real thing can show: a real broker, real databases, and a Catalog stand-in.
//!
//! One module a subject; `support` starts and finds what they need.

// A test's future has those of its world, its database and the driver in it, each in the other.
#![recursion_limit = "256"]
#![allow(clippy::disallowed_methods, reason = "a test may look at any clock")]
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod also;
mod architecture;
mod blanks;
mod broker;
mod catalog_traps;
mod check;
mod commands;
mod docs;
mod http;
mod ops;
mod page;
mod reconcile;
mod share_links;
mod store;
mod support;
mod telemetry;
mod tls;
mod worker;
