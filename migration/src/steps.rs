//! The steps of our own schema, oldest first. A step that has been released stays as it is.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// A migration that can say beforehand what it will execute.
pub(crate) struct Step {
    /// By which the database remembers it.
    pub(crate) name: &'static str,
    /// The tables that it adds, which go again on the way down, the last one first. That is always the whole way, so
    /// columns go with their table.
    pub(crate) tables: &'static [&'static str],
    /// The statements that make the change.
    pub(crate) up: fn(DbBackend) -> Vec<String>,
}

impl Step {
    /// The statements that take it back.
    pub(crate) fn down(&self, backend: DbBackend) -> Vec<String> {
        self.tables.iter().rev().map(|table| drop_table(backend, table)).collect()
    }
}

pub(crate) const LEDGER: &str = "course_sharing_ledger";
const PASS: &str = "course_sharing_reconcile";
const LEASE: &str = "course_sharing_lease";
const BLANK: &str = "course_sharing_blank";
/// Step 3 adds it, and step 7 drops it.
pub(crate) const BLOCK: &str = "course_sharing_block";
const LETTER: &str = "course_sharing_dead_letter";
const FAILURE: &str = "course_sharing_failure";
const HINT: &str = "course_sharing_hint";
const CHANGE: &str = "course_sharing_change";

pub(crate) const STEPS: [Step; 10] = [
    Step { name: "m20261122_000001_ledger", tables: &[LEDGER, PASS, LEASE], up: ledger_passes_and_leases },
    Step { name: "m20261122_000002_blanks", tables: &[BLANK], up: blanks },
    Step { name: "m20261122_000003_blocks", tables: &[BLOCK], up: blocks },
    Step { name: "m20261122_000004_also", tables: &[], up: also },
    Step { name: "m20261124_000005_dead_letters", tables: &[LETTER], up: dead_letters },
    Step { name: "m20261124_000006_refusals", tables: &[FAILURE], up: refusals },
    Step { name: "m20261130_000007_plain_ledger", tables: &[], up: plain_ledger },
    Step { name: "m20261130_000008_light_passes", tables: &[], up: light_passes },
    Step { name: "m20261130_000009_hints", tables: &[HINT], up: hints },
    Step { name: "m20261130_000010_changes", tables: &[CHANGE], up: changes },
];

fn ledger_passes_and_leases(backend: DbBackend) -> Vec<String> {
    let time = |name| instant(name, backend);
    let ledger = table(LEDGER, backend)
        .col(varchar("run_key", 255).not_null().primary_key())
        .col(column("marketing_url").text())
        .col(column("listed").boolean().not_null())
        .col(time("pending_clear_since"))
        .col(time("cleared_at"))
        .col(time("changed_at"))
        .col(column("held_by").big_integer())
        .col(column("held_url").text())
        .col(time("observed_at").not_null())
        .col(varchar("observed_by", 16).not_null())
        .take();
    let mut pass = table(PASS, backend);
    pass.col(column("id").big_integer().not_null().auto_increment().primary_key())
        .col(time("started_at").not_null())
        .col(time("progress_at").not_null())
        .col(time("finished_at"))
        .col(varchar("verdict", 16).not_null())
        .col(column("position").big_integer().not_null())
        .col(column("page_size").integer().not_null());
    for counter in ["listed", "updated", "cleared", "held_back", "failures"] {
        pass.col(column(counter).big_integer().not_null());
    }
    pass.col(column("report").text().not_null());
    let lease = table(LEASE, backend)
        .col(varchar("job", 32).not_null().primary_key())
        .col(varchar("holder", 128).not_null())
        .col(time("expires_at").not_null())
        .take();
    vec![create(backend, &ledger), create(backend, &pass), create(backend, &lease)]
}

/// Which overviews have no link, since when and why.
fn blanks(backend: DbBackend) -> Vec<String> {
    let blank = table(BLANK, backend)
        .col(varchar("course_id", 255).not_null().primary_key())
        .col(instant("since", backend).not_null())
        .col(varchar("reason", 16).not_null())
        .col(instant("dead_since", backend))
        .take();
    // The oldest of each reason are what is looked at, however many there are.
    vec![create(backend, &blank), index(backend, "course_sharing_blank_oldest", BLANK, &["reason", "since"])]
}

/// Blocks of the Catalog's list, each for many rows of the ledger.
fn blocks(backend: DbBackend) -> Vec<String> {
    let block = table(BLOCK, backend)
        .col(column("digest").big_integer().not_null().primary_key())
        .col(column("runs").integer().not_null())
        .col(instant("seen_at", backend).not_null())
        .take();
    vec![create(backend, &block), add(backend, LEDGER, column("block").big_integer().null())]
}

/// What `sync.also` copies beside the URL.
fn also(backend: DbBackend) -> Vec<String> {
    vec![
        add(backend, LEDGER, column("eligible_for_financial_aid").boolean().null()),
        add(backend, LEDGER, varchar("language", 35).null()),
    ]
}

/// Dead letters as rows: looking at them changes nothing.
fn dead_letters(backend: DbBackend) -> Vec<String> {
    let letter = table(LETTER, backend)
        .col(column("id").big_integer().not_null().auto_increment().primary_key())
        .col(column("digest").char_len(64).not_null().unique_key())
        .col(bytes("body", backend).not_null())
        .col(column("body_bytes").big_integer().not_null())
        .col(column("body_sha256").char_len(64).not_null())
        .col(bytes("properties", backend).not_null())
        .col(varchar("routing_key", 255).not_null())
        .col(varchar("content_type", 255))
        .col(varchar("reason", 255).not_null())
        .col(varchar("course_id", 255))
        .col(column("understood").boolean().not_null())
        .col(column("attempt").big_integer().not_null())
        .col(instant("first_seen", backend).not_null())
        .col(instant("taken_at", backend).not_null())
        .take();
    // The oldest are discarded first.
    vec![
        create(backend, &letter),
        index(backend, "course_sharing_dead_letter_course", LETTER, &["course_id", "first_seen"]),
        index(backend, "course_sharing_dead_letter_taken", LETTER, &["taken_at"]),
    ]
}

/// URLs that are refused, and look-ups of a single run that failed.
fn refusals(backend: DbBackend) -> Vec<String> {
    let failure = table(FAILURE, backend)
        .col(varchar("run_key", 255).not_null().primary_key())
        .col(instant("failed_at", backend).not_null())
        .col(varchar("why", 320).not_null())
        .take();
    // There are few refused URLs among many rows.
    vec![
        add(backend, LEDGER, varchar("refused_url", 320).null()),
        add(backend, LEDGER, varchar("refused_why", 320).null()),
        add(backend, LEDGER, instant("refused_since", backend).null()),
        index(backend, "course_sharing_ledger_refused", LEDGER, &["refused_since"]),
        create(backend, &failure),
    ]
}

/// A row of which a block was seen later was last seen then.
pub(crate) const SEEN: &str = "UPDATE course_sharing_ledger SET observed_by = 'pass', observed_at = (SELECT seen_at FROM \
                    course_sharing_block WHERE digest = course_sharing_ledger.block) WHERE EXISTS (SELECT 1 FROM \
                    course_sharing_block WHERE digest = course_sharing_ledger.block AND seen_at > \
                    course_sharing_ledger.observed_at)";

/// The ledger without blocks and without changes that a brake holds back: a pass notes on each row when it was seen, and
/// keeps in memory what waits. And blank overviews without a column that nothing uses.
fn plain_ledger(backend: DbBackend) -> Vec<String> {
    let drop = |table: &'static str, column: &'static str| {
        backend.build(Table::alter().table(table).drop_column(column)).to_string()
    };
    // `block` is the first column to go: `done.rs` knows by it that SEEN has run.
    vec![
        SEEN.to_owned(),
        drop(LEDGER, "block"),
        drop(LEDGER, "held_by"),
        drop(LEDGER, "held_url"),
        drop_table(backend, BLOCK),
        drop(BLANK, "dead_since"),
    ]
}

/// Passes of two kinds: those of before are full ones.
fn light_passes(backend: DbBackend) -> Vec<String> {
    vec![add(backend, PASS, varchar("kind", 8).not_null().default("full"))]
}

/// Up to where the changes of the Catalog are known.
fn hints(backend: DbBackend) -> Vec<String> {
    let hint = table(HINT, backend)
        .col(column("id").integer().not_null().primary_key())
        .col(instant("position", backend).not_null())
        .col(instant("asked_at", backend).not_null())
        .col(instant("pass_due_since", backend).null())
        .take();
    vec![create(backend, &hint)]
}

/// The history of links. It has no number of its own: MySQL would lock the table to count one up.
fn changes(backend: DbBackend) -> Vec<String> {
    let mut change = table(CHANGE, backend);
    change
        .col(varchar("course_id", 255).not_null())
        .col(instant("changed_at", backend).not_null())
        .col(column("old_url").text())
        .col(column("new_url").text())
        .col(varchar("changed_by", 16).not_null())
        .col(column("trace_id").char_len(32))
        .primary_key(Index::create().col("course_id").col("changed_at"));
    // The oldest are deleted first.
    vec![create(backend, &change), index(backend, "course_sharing_change_oldest", CHANGE, &["changed_at"])]
}

/// A table of ours. On MySQL every text is compared byte for byte, whatever the database's default says.
fn table(name: &'static str, backend: DbBackend) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(name);
    if backend == DbBackend::MySql {
        table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
    }
    table
}

fn create(backend: DbBackend, table: &TableCreateStatement) -> String {
    backend.build(table).to_string()
}

fn drop_table(backend: DbBackend, name: &'static str) -> String {
    backend.build(Table::drop().table(name)).to_string()
}

/// One column a statement: SQLite knows no other way.
fn add(backend: DbBackend, table: &'static str, column: impl IntoColumnDef) -> String {
    backend.build(Table::alter().table(table).add_column(column)).to_string()
}

fn index(backend: DbBackend, name: &str, table: &'static str, columns: &[&'static str]) -> String {
    let mut index = Index::create();
    index.name(name).table(table);
    for column in columns {
        index.col(*column);
    }
    backend.build(&index).to_string()
}

fn column(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
}

fn varchar(name: &'static str, length: u32) -> ColumnDef {
    column(name).string_len(length).take()
}

/// A point in time, to the microsecond, in UTC.
fn instant(name: &'static str, backend: DbBackend) -> ColumnDef {
    match backend {
        DbBackend::MySql => column(name).custom("datetime(6)").take(),
        _ => column(name).timestamp_with_time_zone().take(),
    }
}

/// Bytes of any length.
fn bytes(name: &'static str, backend: DbBackend) -> ColumnDef {
    match backend {
        DbBackend::MySql => column(name).custom("longblob").take(),
        _ => column(name).blob().take(),
    }
}
