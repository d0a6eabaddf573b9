//! Blocks of the Catalog's list, each for many rows of the ledger; step 7 drops them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;
use crate::columns::{instant, table};

pub(crate) const STEP: Step = Step { name: "m20261122_000003_blocks", tables: &[], up, down };

const LEDGER: &str = "course_sharing_ledger";
const BLOCK: &str = "course_sharing_block";

fn up(backend: DbBackend) -> Vec<String> {
    let blocks = table(BLOCK, backend)
        .col(ColumnDef::new("digest").big_integer().not_null().primary_key())
        .col(ColumnDef::new("runs").integer().not_null())
        .col(instant("seen_at", backend).not_null())
        .to_owned();
    let column =
        Table::alter().table(LEDGER).add_column(ColumnDef::new("block").big_integer().null()).to_owned();
    vec![backend.build(&blocks).to_string(), backend.build(&column).to_string()]
}

/// The way down is always the whole way: the column goes with its table.
fn down(backend: DbBackend) -> Vec<String> {
    vec![backend.build(Table::drop().table(BLOCK)).to_string()]
}
