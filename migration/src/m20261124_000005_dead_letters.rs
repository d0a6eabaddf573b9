//! Dead letters, as rows: looking at them changes nothing.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;
use crate::columns::{instant, table};

const TABLE: &str = "course_sharing_dead_letter";

pub(crate) const STEP: Step = Step { name: "m20261124_000005_dead_letters", tables: &[TABLE], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    let letter = table(TABLE, backend)
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new("digest").char_len(64).not_null().unique_key())
        .col(bytes("body", backend).not_null())
        .col(ColumnDef::new("body_bytes").big_integer().not_null())
        .col(ColumnDef::new("body_sha256").char_len(64).not_null())
        .col(bytes("properties", backend).not_null())
        .col(ColumnDef::new("routing_key").string_len(255).not_null())
        .col(ColumnDef::new("content_type").string_len(255))
        .col(ColumnDef::new("reason").string_len(255).not_null())
        .col(ColumnDef::new("course_id").string_len(255))
        .col(ColumnDef::new("understood").boolean().not_null())
        .col(ColumnDef::new("attempt").big_integer().not_null())
        .col(instant("first_seen", backend).not_null())
        .col(instant("taken_at", backend).not_null())
        .to_owned();
    let of_course = Index::create()
        .name("course_sharing_dead_letter_course")
        .table(TABLE)
        .col("course_id")
        .col("first_seen")
        .to_owned();
    // The oldest are discarded first.
    let oldest =
        Index::create().name("course_sharing_dead_letter_taken").table(TABLE).col("taken_at").to_owned();
    vec![
        backend.build(&letter).to_string(),
        backend.build(&of_course).to_string(),
        backend.build(&oldest).to_string(),
    ]
}

fn down(backend: DbBackend) -> Vec<String> {
    vec![backend.build(Table::drop().table(TABLE)).to_string()]
}

/// Bytes of any length.
fn bytes(name: &'static str, backend: DbBackend) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match backend {
        DbBackend::MySql => column.custom("longblob"),
        _ => column.blob(),
    };
    column
}
