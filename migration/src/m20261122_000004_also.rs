//! The columns of the ledger for what `sync.also` copies beside the URL.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;

pub(crate) const STEP: Step = Step { name: "m20261122_000004_also", tables: &[], up, down };

const LEDGER: &str = "course_sharing_ledger";

fn up(backend: DbBackend) -> Vec<String> {
    // A statement each: SQLite knows no other way.
    [ColumnDef::new("eligible_for_financial_aid").boolean(), ColumnDef::new("language").string_len(35)]
        .map(|column| backend.build(Table::alter().table(LEDGER).add_column(column.null())).to_string())
        .to_vec()
}

/// The way down is always the whole way: the columns go with their table.
fn down(_: DbBackend) -> Vec<String> {
    Vec::new()
}
