//! What the Catalog (course-discovery) says about a run, asked gently, and never mistaken for what it did not say.
//!
//! ```text
//! client ── look_up ─▶ look_up ─┐           ┌─▶ door ─▶ gate = breaker + throttle + budget   (pure)
//!        ── page ───────────────┼─▶ asking ─┼─▶ token ─▶ transport
//!        ── probe ──────────────┘           ├─▶ transport                one request, its limits
//!                                           └─▶ retry                    the only user of `backoff`
//! target: what to ask (pure)    wire: what came (pure)    answers: whom it concerns (pure)
//! ```
//!
//! Everything ends in an [`Observation`] or a [`CatalogError`]; nothing here knows overviews, events or queues.

mod answers;
mod asking;
mod batches;
mod breaker;
mod budget;
mod client;
mod door;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod look_up;
mod observation;
mod retry;
mod target;
mod token;
mod transport;
mod verdict;
mod wire;

pub use self::client::{Client, ListedRun, Page};
pub use self::error::{CatalogError, Defect};
pub use self::gate::GateState;
pub use self::observation::{Observation, Unknown};
pub use self::target::key_cost;

/// On whose behalf the Catalog is asked. It decides who waits and who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An event: goes first, and never waits for a shut gate, as its message can wait better.
    Event,
    /// The pass over everything: goes last, leaves a share of the hourly budget, and waits for a shut gate.
    Pass,
    /// Somebody at a terminal: like an event.
    Command,
}
