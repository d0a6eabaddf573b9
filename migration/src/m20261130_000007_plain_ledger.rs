//! The ledger without blocks of the Catalog's list, and without changes that a brake holds back: a pass notes on each
//! row when it was seen, and keeps in memory what waits.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;

const LEDGER: &str = "course_sharing_ledger";
const BLOCK: &str = "course_sharing_block";

pub(crate) const STEP: Step = Step { name: "m20261130_000007_plain_ledger", tables: &[], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    // A statement each: SQLite knows no other way.
    let columns = ["block", "held_by", "held_url"]
        .map(|column| backend.build(Table::alter().table(LEDGER).drop_column(column)).to_string());
    let table = backend.build(Table::drop().table(BLOCK)).to_string();
    columns.into_iter().chain([table]).collect()
}

/// The way down is always the whole way: there is nothing left to take back.
fn down(_: DbBackend) -> Vec<String> {
    Vec::new()
}
