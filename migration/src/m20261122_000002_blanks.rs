//! Which overviews have no link, since when and why.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;
use crate::columns::{instant, table};

const TABLE: &str = "course_sharing_blank";

pub(crate) const STEP: Step = Step { name: "m20261122_000002_blanks", tables: &[TABLE], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    let blank = table(TABLE, backend)
        .col(ColumnDef::new("course_id").string_len(255).not_null().primary_key())
        .col(instant("since", backend).not_null())
        .col(ColumnDef::new("reason").string_len(16).not_null())
        .col(instant("dead_since", backend))
        .to_owned();
    // The oldest of each reason are what is looked at, however many there are.
    let oldest = Index::create()
        .name("course_sharing_blank_oldest")
        .table(TABLE)
        .col("reason")
        .col("since")
        .to_owned();
    vec![backend.build(&blank).to_string(), backend.build(&oldest).to_string()]
}

fn down(backend: DbBackend) -> Vec<String> {
    vec![backend.build(Table::drop().table(TABLE)).to_string()]
}
