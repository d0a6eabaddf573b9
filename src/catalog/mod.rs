//! What the Catalog (course-discovery) says about runs. It is asked within its limits. A run of which it has said nothing
//! that can be used is unknown.
//!
//! ```text
//! client ── look_up ─▶ look_up ─┐            ┌─▶ token ─▶ transport
//!        ── changed_since ─▶    │            │
//!           changes ────────────┤            │
//!        ── page ───────────────┼─▶ request ─┼─▶ rate_limiter: circuit breaker, throttle, budget   (pure inside)
//!        ── probe ──────────────┘            ├─▶ transport                one request, its limits
//!                                            └─▶ retry_policy ─▶ backoff  (pure)
//! url: what to ask (pure)    wire: what came (pure)    observation: what that says of a run
//! ```
//!
//! The result is an [`Observation`] or a [`CatalogError`]. This module does not know overviews, events or queues.

mod backoff;
mod changes;
mod circuit_breaker;
mod client;
mod error;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/properties/catalog.rs"]
pub(crate) mod fuzzing;
mod look_up;
mod observation;
mod rate_limiter;
mod request;
mod retry_policy;
mod token;
mod transport;
mod url;
mod wire;

pub use self::changes::{Changed, Changes};
pub use self::circuit_breaker::Circuit;
pub use self::client::Client;
pub use self::error::{CatalogError, ClientError, Defect};
pub use self::observation::{Observation, Unknown};
pub(crate) use self::url::key_cost;
pub use self::wire::{ListedRun, Page};

/// What the Catalog is asked for. It decides who waits and who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An event. Goes first, and fails at once where it would have to wait long: its message waits in a delay queue.
    Event,
    /// A pass. Goes last, leaves a share of the hourly budget, and waits while requests are not let through.
    Pass,
    /// What has changed. Goes last and leaves a share like a pass, and fails at once where it would have to wait long, as
    /// it is asked again soon.
    Hint,
    /// A command at a terminal, treated like an event.
    Command,
}

impl Purpose {
    /// Whether events go first.
    fn is_last(self) -> bool {
        matches!(self, Self::Pass | Self::Hint)
    }
}
