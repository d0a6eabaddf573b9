//! The pass over the whole Catalog that makes every link right in the end, and says how far to believe it.
//!
//! ```text
//! pass ─▶ lease ─▶ begin or resume ─▶ listing ─▶ by_key ─▶ finish ─▶ report
//!                                       │           │         └ brake, heal, custom courses
//!         crawl: page_size, ranges ─────┘           └ what the list did not show
//!                        each page or batch ─▶ decide (pure) ─▶ store
//! ```
//!
//! No event tells of a change made in the Catalog: this finds it. Its memory does not grow with the number of runs:
//! what it has seen is marked in the ledger.

mod begin;
mod brake;
mod by_key;
mod crawl;
mod decide;
mod finish;
mod lease;
mod listing;
mod log;
mod page_size;
mod pass;
mod progress;
mod ranges;
mod report;
mod running;
mod seen;
mod table;
mod trouble;

pub use self::pass::{Options, Pass, PassError};
pub use self::progress::{Change, Phase, Progress, Silent, Status, Why};
pub use self::report::{Broken, Report};
