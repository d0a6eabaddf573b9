//! The pass over the whole Catalog that makes every link right in the end, and says how far to believe it.
//!
//! ```text
//! pass ─▶ lease ─▶ begin or resume ─▶ listing ─▶ by_key ─▶ finish ─▶ report
//!                                       │           │         └ brake, heal, custom courses
//!         crawl: page_size, ranges ─────┘           └ what the list did not show
//!         settle_page ─▶ decide (pure) ─▶ store
//! ```
//!
//! No event tells of a change made in the Catalog: this finds it. What it has seen is noted in the database: on most
//! nights nothing has changed, and one statement for each page notes the time at which its runs were seen again.

mod begin;
mod brake;
mod by_key;
mod crawl;
mod decide;
mod edges;
mod finish;
mod held;
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
mod settle;
mod settle_page;
mod suspect;
mod table;
mod trouble;

pub use self::pass::{Options, Pass, PassError};
pub use self::progress::{Change, Phase, Progress, Silent, Status, Why};
pub use self::report::{Broken, Report};
