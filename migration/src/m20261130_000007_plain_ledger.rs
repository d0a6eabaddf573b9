//! The ledger without blocks of the Catalog's list, and without changes that a brake holds back: a pass notes on each
//! row when it was seen, and keeps in memory what waits. And blank overviews without a column that nothing uses.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;

const LEDGER: &str = "course_sharing_ledger";
const BLOCK: &str = "course_sharing_block";
const BLANK: &str = "course_sharing_blank";

/// A row of which a block was seen later was last seen then.
const SEEN: &str = "UPDATE course_sharing_ledger SET observed_by = 'pass', observed_at = (SELECT seen_at FROM \
                    course_sharing_block WHERE digest = course_sharing_ledger.block) WHERE EXISTS (SELECT 1 FROM \
                    course_sharing_block WHERE digest = course_sharing_ledger.block AND seen_at > \
                    course_sharing_ledger.observed_at)";

pub(crate) const STEP: Step = Step { name: "m20261130_000007_plain_ledger", tables: &[], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    let drop = |table: &'static str, column: &'static str| {
        backend.build(Table::alter().table(table).drop_column(column)).to_string()
    };
    // A statement each: SQLite knows no other way. `block` is the first to go: `done.rs` tells by it that SEEN has run.
    vec![
        SEEN.to_owned(),
        drop(LEDGER, "block"),
        drop(LEDGER, "held_by"),
        drop(LEDGER, "held_url"),
        backend.build(Table::drop().table(BLOCK)).to_string(),
        drop(BLANK, "dead_since"),
    ]
}

/// The way down is always the whole way: there is nothing left to take back.
fn down(_: DbBackend) -> Vec<String> {
    Vec::new()
}
