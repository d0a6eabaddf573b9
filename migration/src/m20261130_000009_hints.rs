//! Up to where the changes of the Catalog are known.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;
use crate::columns::{instant, table};

const TABLE: &str = "course_sharing_hint";

pub(crate) const STEP: Step = Step { name: "m20261130_000009_hints", tables: &[TABLE], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    let hint = table(TABLE, backend)
        .col(ColumnDef::new("id").integer().not_null().primary_key())
        .col(instant("position", backend).not_null())
        .col(instant("asked_at", backend).not_null())
        .col(instant("pass_due_since", backend).null())
        .to_owned();
    vec![backend.build(&hint).to_string()]
}

fn down(backend: DbBackend) -> Vec<String> {
    vec![backend.build(Table::drop().table(TABLE)).to_string()]
}
