//! Keeps `CourseOverview.marketing_url`, the column an Open edX LMS shares course links from, true to the
//! Catalog (course-discovery).
//!
//! The modules, in the order of the flow:
//!
//! ```text
//! broker ─▶ event ─▶ worker ─▶ ┌─────────── engine ───────────┐ ─▶ worker settles: ack · delay · dead letter
//!                              │ store: restore from ledger   │
//! pass (timer, command) ──────▶│ catalog: look up             │
//! cli sync <course-id> ───────▶│ plan (pure)                  │
//!                              │ store: apply, one transaction│
//! heal: one SQL statement ────▶└──────────────────────────────┘
//! ```
//!
//! `event`, `broker`, `catalog` and `store` know nothing of one another; [`engine`] joins catalog and store, [`pass`] is
//! on top of it, [`worker`] joins broker, event and engine; [`status`] gathers what is so, [`http`] shows it, [`cli`]
//! wires them all. Imports point down only: `tests/it/architecture.rs` has the floors.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may look at any clock"))]

pub mod clock;
pub mod model;

pub mod config;
pub mod jobs;
pub mod telemetry;

pub mod broker;
pub mod catalog;
pub mod event;
pub mod store;

pub mod engine;
pub mod pass;
pub mod share_link;

pub mod cli;
pub mod http;
pub mod status;
pub mod worker;

#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/properties/mod.rs"]
pub mod fuzzing;
