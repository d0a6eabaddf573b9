//! The ledger without blocks of the Catalog's list: a pass notes on each row when it was seen.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;

const LEDGER: &str = "course_sharing_ledger";
const BLOCK: &str = "course_sharing_block";

pub(crate) const STEP: Step = Step { name: "m20261130_000007_plain_ledger", tables: &[], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    let column = Table::alter().table(LEDGER).drop_column("block").to_owned();
    let table = Table::drop().table(BLOCK).to_owned();
    vec![backend.build(&column).to_string(), backend.build(&table).to_string()]
}

/// The way down is always the whole way: there is nothing left to take back.
fn down(_: DbBackend) -> Vec<String> {
    Vec::new()
}
