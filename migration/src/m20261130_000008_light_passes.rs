//! Passes of two kinds: those of before are full ones.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;

pub(crate) const STEP: Step = Step { name: "m20261130_000008_light_passes", tables: &[], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    let kind = ColumnDef::new("kind").string_len(8).not_null().default("full").take();
    vec![backend.build(Table::alter().table("course_sharing_reconcile").add_column(kind)).to_string()]
}

/// The way down is always the whole way: there is nothing left to take back.
fn down(_: DbBackend) -> Vec<String> {
    Vec::new()
}
