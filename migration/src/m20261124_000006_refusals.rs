//! What the ledger keeps of a URL that is refused, and which look-ups of a single run failed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::Step;
use crate::columns::{instant, table};

const LEDGER: &str = "course_sharing_ledger";
const FAILURE: &str = "course_sharing_failure";

pub(crate) const STEP: Step = Step { name: "m20261124_000006_refusals", tables: &[FAILURE], up, down };

fn up(backend: DbBackend) -> Vec<String> {
    // A statement each: SQLite knows no other way.
    let columns = [
        ColumnDef::new("refused_url").string_len(320).take(),
        ColumnDef::new("refused_why").string_len(320).take(),
        instant("refused_since", backend),
    ];
    let refused = columns
        .map(|mut column| backend.build(Table::alter().table(LEDGER).add_column(column.null())).to_string());
    // There are few of them among many rows.
    let oldest =
        Index::create().name("course_sharing_ledger_refused").table(LEDGER).col("refused_since").take();
    let failure = table(FAILURE, backend)
        .col(ColumnDef::new("run_key").string_len(255).not_null().primary_key())
        .col(instant("failed_at", backend).not_null())
        .col(ColumnDef::new("why").string_len(320).not_null())
        .to_owned();
    let rest = [backend.build(&oldest).to_string(), backend.build(&failure).to_string()];
    refused.into_iter().chain(rest).collect()
}

/// The way down is always the whole way: the columns go with their table.
fn down(backend: DbBackend) -> Vec<String> {
    vec![backend.build(Table::drop().table(FAILURE)).to_string()]
}
