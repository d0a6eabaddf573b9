//! The ledger, the passes and the leases.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;
use crate::columns::{instant, table};

const TABLES: &[&str] = &["course_sharing_ledger", "course_sharing_reconcile", "course_sharing_lease"];
pub(crate) const STEP: Step = Step { name: "m20261122_000001_ledger", tables: TABLES, up, down };

fn up(backend: DbBackend) -> Vec<String> {
    let tables = [ledger(backend), reconcile(backend), lease(backend)];
    tables.iter().map(|table| backend.build(table).to_string()).collect()
}

fn down(backend: DbBackend) -> Vec<String> {
    TABLES.iter().rev().map(|table| backend.build(Table::drop().table(*table)).to_string()).collect()
}

fn ledger(backend: DbBackend) -> TableCreateStatement {
    table("course_sharing_ledger", backend)
        .col(ColumnDef::new("run_key").string_len(255).not_null().primary_key())
        .col(ColumnDef::new("marketing_url").text())
        .col(ColumnDef::new("listed").boolean().not_null())
        .col(instant("pending_clear_since", backend))
        .col(instant("cleared_at", backend))
        .col(instant("changed_at", backend))
        .col(ColumnDef::new("held_by").big_integer())
        .col(ColumnDef::new("held_url").text())
        .col(instant("observed_at", backend).not_null())
        .col(ColumnDef::new("observed_by").string_len(16).not_null())
        .to_owned()
}

fn reconcile(backend: DbBackend) -> TableCreateStatement {
    let mut table = table("course_sharing_reconcile", backend);
    table
        .col(ColumnDef::new("id").big_integer().not_null().auto_increment().primary_key())
        .col(instant("started_at", backend).not_null())
        .col(instant("progress_at", backend).not_null())
        .col(instant("finished_at", backend))
        .col(ColumnDef::new("verdict").string_len(16).not_null())
        .col(ColumnDef::new("position").big_integer().not_null())
        .col(ColumnDef::new("page_size").integer().not_null());
    for counter in ["listed", "updated", "cleared", "held_back", "failures"] {
        table.col(ColumnDef::new(counter).big_integer().not_null());
    }
    table.col(ColumnDef::new("report").text().not_null()).to_owned()
}

fn lease(backend: DbBackend) -> TableCreateStatement {
    table("course_sharing_lease", backend)
        .col(ColumnDef::new("job").string_len(32).not_null().primary_key())
        .col(ColumnDef::new("holder").string_len(128).not_null())
        .col(instant("expires_at", backend).not_null())
        .to_owned()
}
