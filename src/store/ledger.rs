//! The ledger: reading rows, and writing what was observed unless something newer is there already.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::ledger::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, IntoActiveModel, QueryFilter,
    QuerySelect,
};

use super::blocks::{block_seen_at, not_before_its_block};
use super::limit::within;
use super::{Store, StoreError};
use crate::also::{Also, AlsoColumn};
use crate::course_key::{CourseKey, RunKey};

/// What asked the Catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservedBy {
    /// An event.
    Event,
    /// A pass.
    Pass,
    /// An operator's command.
    Command,
}

impl ObservedBy {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Pass => "pass",
            Self::Command => "command",
        }
    }
}

/// What is known of one run; the row of `course_sharing_ledger` in this program's types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The run.
    pub run: RunKey,
    /// The last URL that the Catalog confirmed; kept after a clear.
    pub url: Option<String>,
    /// Whether the last whole answer had the run in it.
    pub listed: bool,
    /// Since when the Catalog says, without a break, that the run has no page.
    pub pending_clear_since: Option<DateTime<Utc>>,
    /// When the clear came into force.
    pub cleared_at: Option<DateTime<Utc>>,
    /// When the URL in force last changed.
    pub changed_at: Option<DateTime<Utc>>,
    /// The change that the brake of this pass holds back: the URL, or none for a clear.
    pub held: Option<(i64, Option<String>)>,
    /// When the question was asked.
    pub observed_at: DateTime<Utc>,
    /// What asked, in the table's word.
    pub observed_by: String,
    /// The block of the Catalog's list that says the same of the run.
    pub block: Option<i64>,
    /// The last values that the Catalog gave for the columns of `sync.also`; others are not looked at.
    pub also: Also,
}

impl Entry {
    /// The URL that overviews of this run should have.
    pub fn in_force(&self) -> Option<&str> {
        if self.cleared_at.is_some() { None } else { self.url.as_deref() }
    }

    /// Whether another entry says the same of the run, whoever looked and when.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { run, url, listed, pending_clear_since, cleared_at, changed_at, held, also, .. } = self;
        *run == other.run
            && *url == other.url
            && *listed == other.listed
            && *pending_clear_since == other.pending_clear_since
            && *cleared_at == other.cleared_at
            && *changed_at == other.changed_at
            && *held == other.held
            && *also == other.also
    }

    /// `vouched_at`: when the row's block was last on the Catalog's list.
    fn from_row(Row { row, vouched_at }: Row, also: &[AlsoColumn]) -> Option<Self> {
        // A key that does not parse was put there by hand; it can belong to no overview of ours.
        let run = CourseKey::parse(&row.run_key).ok()?.run_key();
        let (observed_at, observed_by) = match vouched_at {
            Some(at) if at > row.observed_at => (at, ObservedBy::Pass.as_str().to_owned()),
            _ => (row.observed_at, row.observed_by),
        };
        let Model { eligible_for_financial_aid, language, .. } = row;
        let also = Also { eligible_for_financial_aid, language }.only(also);
        Some(Self {
            run,
            url: row.marketing_url,
            listed: row.listed,
            pending_clear_since: row.pending_clear_since,
            cleared_at: row.cleared_at,
            changed_at: row.changed_at,
            held: row.held_by.map(|pass| (pass, row.held_url)),
            observed_at,
            observed_by,
            block: row.block,
            also,
        })
    }

    fn into_model(self) -> Model {
        let (held_by, held_url) = self.held.map_or((None, None), |(pass, url)| (Some(pass), url));
        Model {
            run_key: self.run.as_str().to_owned(),
            marketing_url: self.url,
            listed: self.listed,
            pending_clear_since: self.pending_clear_since,
            cleared_at: self.cleared_at,
            changed_at: self.changed_at,
            held_by,
            held_url,
            observed_at: self.observed_at,
            observed_by: self.observed_by,
            block: self.block,
            eligible_for_financial_aid: self.also.eligible_for_financial_aid,
            language: self.also.language,
        }
    }
}

/// A row, and when its block was last on the Catalog's list.
#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    row: Model,
    vouched_at: Option<DateTime<Utc>>,
}

impl Store {
    /// The ledger's rows of these runs; runs it does not know are not in the map. At most [`super::MAX_ROWS`] runs.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn entries(&self, runs: &[RunKey]) -> Result<HashMap<RunKey, Entry>, StoreError> {
        if runs.is_empty() {
            return Ok(HashMap::new());
        }
        let keys = runs.iter().map(RunKey::as_str);
        let found = Entity::find().filter(Column::RunKey.is_in(keys)).expr_as(block_seen_at(), "vouched_at");
        let rows = within("read the ledger", found.into_model::<Row>().all(&self.db)).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| Entry::from_row(row, &self.also))
            .map(|e| (e.run.clone(), e))
            .collect())
    }
}

/// Writes rows in one statement, each unless the table has an answer to a later question; at most
/// [`super::MAX_ROWS`]. Of the columns of `sync.also` it writes those in `also`; the others keep what they have.
pub(super) async fn upsert<C: ConnectionTrait>(
    db: &C,
    mut entries: Vec<Entry>,
    also: &[AlsoColumn],
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort_by(|a, b| a.run.cmp(&b.run));
    let rows = entries.into_iter().map(|entry| entry.into_model().into_active_model());
    Entity::insert_many(rows)
        .on_conflict(unless_newer(db.get_database_backend(), also))
        .exec_without_returning(db)
        .await
        .map_err(StoreError::doing("write the ledger"))?;
    Ok(())
}

const WRITTEN: [Column; 10] = [
    Column::MarketingUrl,
    Column::Listed,
    Column::PendingClearSince,
    Column::ClearedAt,
    Column::ChangedAt,
    Column::HeldBy,
    Column::HeldUrl,
    Column::ObservedBy,
    // Last: MySQL assigns from left to right, and the guard of each column reads these.
    Column::ObservedAt,
    Column::Block,
];

/// The guard: an answer to an earlier question never replaces that to a later one, be it the row's own or its block's; and a clear is written only
/// over the null that it was decided on, so that a URL seen in between survives.
fn unless_newer(backend: DbBackend, also: &[AlsoColumn]) -> OnConflict {
    let mut conflict = OnConflict::column(Column::RunKey);
    let also = also.iter().map(|column| match column {
        AlsoColumn::EligibleForFinancialAid => Column::EligibleForFinancialAid,
        AlsoColumn::Language => Column::Language,
    });
    let written = also.chain(WRITTEN);
    let not_before_its_block = not_before_its_block(backend);
    if backend == DbBackend::MySql {
        let guard = format!(
            "VALUES(observed_at) >= observed_at AND (VALUES(cleared_at) IS NULL OR cleared_at IS NOT NULL OR \
             pending_clear_since <= VALUES(pending_clear_since)) AND {not_before_its_block}"
        );
        for column in written {
            let name = sea_orm::IdenStatic::as_str(&column).to_owned();
            conflict.value(column, Expr::cust(format!("IF({guard}, VALUES({name}), {name})")));
        }
    } else {
        let (old, new) = ("course_sharing_ledger", "excluded");
        conflict.update_columns(written).action_and_where(
            Expr::cust(format!("{new}.observed_at >= {old}.observed_at")).and(Expr::cust(format!(
                "({new}.cleared_at IS NULL OR {old}.cleared_at IS NOT NULL OR \
                 {old}.pending_clear_since <= {new}.pending_clear_since) AND {not_before_its_block}"
            ))),
        );
    }
    conflict
}
