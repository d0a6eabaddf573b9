//! Blocks of the Catalog's list: what a pass writes instead of a row for each run that is as it was.
//!
//! A ledger row that names a block says of its run what the block says; every write that says something else takes
//! the name away. So a run was last seen when its row was written or its block was last on the list, whichever is
//! later.

use chrono::{DateTime, Utc};
use entity::{block, ledger};
use sea_orm::sea_query::{Alias, Condition, Expr, ExprTrait, OnConflict, Query, SimpleExpr};
use sea_orm::{ActiveValue::Set, DbBackend, EntityTrait, QueryTrait};

use super::timeout::Limit::{Batch, Table};
use super::{ObservedBy, Store, StoreError, keys};

/// What a block takes in a statement that notes it.
const BYTES: usize = 60;

/// Some neighbouring runs of the Catalog's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Of everything that the list says of them.
    pub digest: i64,
    /// How many they are.
    pub runs: u32,
}

impl Store {
    /// The digests of all blocks that the ledger has whole: one for some sixty runs.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn whole_blocks(&self) -> Result<Vec<i64>, StoreError> {
        let rows = Query::select()
            .column(ledger::Column::Block)
            .expr_as(Expr::cust("COUNT(*)"), Alias::new("found"))
            .from(ledger::Entity)
            .and_where(Expr::col(ledger::Column::Block).is_not_null())
            .group_by_col(ledger::Column::Block)
            .to_owned();
        let counted = Alias::new("counted");
        let query = Query::select()
            .column((block::Entity, block::Column::Digest))
            .from_subquery(rows, counted.clone())
            .inner_join(
                block::Entity,
                Expr::col((block::Entity, block::Column::Digest))
                    .equals((counted.clone(), ledger::Column::Block)),
            )
            .and_where(Expr::col((block::Entity, block::Column::Runs)).equals((counted, Alias::new("found"))))
            .to_owned();
        let doing = "find blocks that the ledger has whole";
        let rows = self.db.rows(doing, Table, &query).await?;
        let digests = rows.iter().map(|row| row.try_get("", "digest"));
        digests.collect::<Result<_, _>>().map_err(StoreError::doing(doing))
    }

    /// Notes that these blocks are on the list, by an answer to a question asked at `seen_at`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_blocks(&self, blocks: &[Block], seen_at: DateTime<Utc>) -> Result<(), StoreError> {
        for blocks in keys::fitting(blocks, |_| BYTES) {
            let mut blocks = blocks.to_vec();
            blocks.sort_unstable_by_key(|block| block.digest);
            blocks.dedup_by_key(|block| block.digest);
            let rows = blocks.iter().map(|block| block::ActiveModel {
                digest: Set(block.digest),
                runs: Set(i32::try_from(block.runs).unwrap_or(i32::MAX)),
                seen_at: Set(seen_at),
            });
            let known =
                OnConflict::column(block::Column::Digest).update_column(block::Column::SeenAt).to_owned();
            let note = block::Entity::insert_many(rows).on_conflict(known);
            self.db.execute("note blocks", Batch, &note.into_query()).await?;
        }
        Ok(())
    }
}

/// When a ledger row's block was last on the list; NULL without one. To be used where the ledger is read.
pub(super) fn block_seen_at() -> SimpleExpr {
    block_seen_at_of("course_sharing_ledger")
}

/// The same where the ledger is read under this name.
pub(super) fn block_seen_at_of(ledger: &'static str) -> SimpleExpr {
    let seen_at = Query::select()
        .column((block::Entity, block::Column::SeenAt))
        .from(block::Entity)
        .and_where(
            Expr::col((block::Entity, block::Column::Digest))
                .equals((Alias::new(ledger), ledger::Column::Block)),
        )
        .to_owned();
    SimpleExpr::SubQuery(None, Box::new(seen_at.into()))
}

/// From when on a run counts as seen by a pass.
#[derive(Debug, Clone, Copy)]
pub struct SeenSince {
    /// What a pass was answered: when this one began.
    pub began: DateTime<Utc>,
    /// What events and commands were answered: when the list had been read. Before that the list may have shown
    /// something newer, which nobody has written, as a block vouched for it, or as it was asked for earlier and
    /// answered later.
    pub listed: DateTime<Utc>,
}

/// Whether a ledger row's run has been seen; where ledger and blocks are joined.
pub(super) fn seen_since(since: SeenSince) -> Condition {
    seen_since_in("course_sharing_ledger", "course_sharing_block", since)
}

/// The same where ledger and blocks are joined under these names.
pub(super) fn seen_since_in(ledger: &'static str, block: &'static str, since: SeenSince) -> Condition {
    let row = |column| Expr::col((Alias::new(ledger), column));
    let by_pass = Condition::all()
        .add(row(ledger::Column::ObservedAt).gte(since.began))
        .add(row(ledger::Column::ObservedBy).eq(ObservedBy::Pass.as_str()));
    Condition::any()
        .add(by_pass)
        .add(row(ledger::Column::ObservedAt).gte(since.listed))
        .add(Expr::col((Alias::new(block), block::Column::SeenAt)).gte(since.began))
}

/// Joins the ledger's blocks to it.
pub(super) fn of_ledger() -> Expr {
    Expr::col((block::Entity, block::Column::Digest)).equals((ledger::Entity, ledger::Column::Block))
}

/// For the guard of the ledger's upsert: whether the answer to be written is not older than the last look at the
/// row's block.
pub(super) fn not_before_its_block(backend: DbBackend) -> String {
    let new = if backend == DbBackend::MySql { "VALUES(observed_at)" } else { "excluded.observed_at" };
    format!(
        "{new} >= COALESCE((SELECT course_sharing_block.seen_at FROM course_sharing_block WHERE \
         course_sharing_block.digest = course_sharing_ledger.block), {new})"
    )
}
