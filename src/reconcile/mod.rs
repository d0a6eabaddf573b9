//! The pass over the whole Catalog that makes every link right in the end, and says how far to believe it.
//!
//! ```text
//! pass ─▶ lease ─▶ begin or resume ─▶ listing ─▶ by_key ─▶ finish ─▶ report
//!                                       │           │         └ brake, heal, custom courses
//!         crawl: page_size, ranges ─────┘           └ what the list did not show
//!         blocks ─▶ those not vouched for ─▶ decide (pure) ─▶ store
//! ```
//!
//! No event tells of a change made in the Catalog: this finds it. What it has seen is noted in the database.
//!
//! On most nights nothing has changed, and the ledger vouches for the list by blocks: some sixty neighbouring runs
//! each, cut by a hash of what the list says of them, so that a run that comes or goes changes its own block alone.
//! Ledger rows name the block that says the same as they do, and every write that says something else takes the name
//! away. A block on the list that as many rows name as it has runs is as it was: none of its rows is read or written,
//! only the time is noted at which it was seen.

mod begin;
mod blocks;
mod brake;
mod by_key;
mod crawl;
mod decide;
mod edges;
mod finish;
mod lease;
mod listed;
mod listing;
mod log;
mod page_size;
mod pass;
mod progress;
mod ranges;
mod report;
mod running;
mod seen;
mod settle;
mod suspect;
mod table;
mod trouble;
mod vouched;

pub use self::pass::{Options, Pass, PassError};
pub use self::progress::{Change, Phase, Progress, Silent, Status, Why};
pub use self::report::{Broken, Report};
