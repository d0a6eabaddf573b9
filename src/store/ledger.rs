//! The ledger: reading rows, and writing what was observed unless something newer is there already.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
pub use entity::ledger::ObservedBy;
use entity::ledger::{Column, Entity, Model};
use sea_orm::sea_query::{Expr, InsertStatement, OnConflict, Query, Value};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, FromQueryResult,
    QueryFilter, QueryTrait,
};

use super::statement::{execute, query};
use super::timeout::Limit;
use super::{Store, StoreError, keys};
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::{Also, AlsoColumn};
use crate::model::marketing_url::RefusedUrl;

const WRITE: &str = "write the ledger";

/// A URL of the Catalog that is not fit to be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlRefusal {
    /// Which, and why.
    pub what: RefusedUrl,
    /// Since when the Catalog lists it, as far as it was seen.
    pub since: DateTime<Utc>,
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
    /// When the question was asked.
    pub observed_at: DateTime<Utc>,
    /// What asked.
    pub observed_by: ObservedBy,
    /// The last values that the Catalog gave for the columns of `sync.also`; others are not looked at. To be written:
    /// those that an answer brings.
    pub also: Also,
    /// The URL that the Catalog lists, where it is refused; what is in force stays as it was.
    pub refused: Option<UrlRefusal>,
}

impl Entry {
    /// The columns of `sync.also` as they are where this follows on what is `known`.
    pub fn also_after(&self, known: Option<&Self>) -> Also {
        known.map_or_else(|| self.also.clone(), |known| self.also.or(&known.also))
    }

    /// The URL that overviews of this run should have.
    pub fn in_force(&self) -> Option<&str> {
        if self.cleared_at.is_some() { None } else { self.url.as_deref() }
    }

    /// Whether another entry, which follows on this one, says the same of the run; who asked and when does not count.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { run, url, listed, pending_clear_since, cleared_at, changed_at, also, refused, .. } = self;
        *run == other.run
            && *url == other.url
            && *listed == other.listed
            && *pending_clear_since == other.pending_clear_since
            && *cleared_at == other.cleared_at
            && *changed_at == other.changed_at
            && other.also.or(also) == *also
            && *refused == other.refused
    }

    fn from_row(row: Model, also: &[AlsoColumn]) -> Option<Self> {
        // A key that does not parse was put there by hand; it can belong to no overview of ours.
        let run = CourseKey::parse(&row.run_key).ok()?.own_key();
        let Model { eligible_for_financial_aid, language, .. } = row;
        let also = Also { eligible_for_financial_aid, language }.only(also);
        let (url, why) = (row.refused_url.unwrap_or_default(), row.refused_why.unwrap_or_default());
        let what = RefusedUrl { url, why };
        let refused = row.refused_since.map(|since| UrlRefusal { what, since });
        Some(Self {
            run,
            url: row.marketing_url,
            listed: row.listed,
            pending_clear_since: row.pending_clear_since,
            cleared_at: row.cleared_at,
            changed_at: row.changed_at,
            observed_at: row.observed_at,
            observed_by: row.observed_by,
            also,
            refused,
        })
    }

    /// Whether the answer says if the URL is cleared; else the row keeps what it has.
    fn brings_clear(&self) -> bool {
        self.listed && self.refused.is_none()
    }

    /// About as many bytes as it takes in a statement.
    fn bytes(&self) -> usize {
        let words = self.run.as_str().len() + self.url.as_deref().map_or(0, str::len);
        // Up to four times of 27 bytes, the small columns, and the length of each.
        let language = self.also.language.as_deref().map_or(0, str::len);
        let refused =
            self.refused.as_ref().map_or(0, |refused| refused.what.url.len() + refused.what.why.len());
        words + language + refused + 240
    }

    /// The row, column by column.
    fn values(&self) -> [(Column, Value); 13] {
        let refused = self.refused.as_ref();
        [
            (Column::RunKey, self.run.as_str().into()),
            (Column::EligibleForFinancialAid, self.also.eligible_for_financial_aid.into()),
            (Column::Language, self.also.language.clone().into()),
            (Column::MarketingUrl, self.url.clone().into()),
            (Column::Listed, self.listed.into()),
            (Column::PendingClearSince, self.pending_clear_since.into()),
            (Column::ClearedAt, self.cleared_at.into()),
            (Column::ChangedAt, self.changed_at.into()),
            (Column::RefusedUrl, refused.map(|refused| refused.what.url.clone()).into()),
            (Column::RefusedWhy, refused.map(|refused| refused.what.why.clone()).into()),
            (Column::RefusedSince, refused.map(|refused| refused.since).into()),
            (Column::ObservedBy, self.observed_by.as_str().into()),
            // Last: MySQL assigns from left to right, and the guard of each column reads it.
            (Column::ObservedAt, self.observed_at.into()),
        ]
    }
}

impl Store {
    /// The ledger's rows of these runs; runs it does not know are not in the map.
    pub async fn entries(&self, runs: &[RunKey]) -> Result<HashMap<RunKey, Entry>, StoreError> {
        let mut entries = HashMap::with_capacity(runs.len());
        for runs in keys::fitting(runs, |run| keys::key_bytes(run.as_str())) {
            let key = Expr::col((Entity, Column::RunKey));
            let among = keys::one_of(self.backend(), key, runs.iter().map(RunKey::as_str));
            let found = Entity::find().filter(among).into_query();
            let rows: Vec<Model> = self.db.all("read the ledger", Limit::Batch, &found).await?;
            let known = rows.into_iter().filter_map(|row| Entry::from_row(row, &self.also));
            entries.extend(known.map(|entry| (entry.run.clone(), entry)));
        }
        Ok(entries)
    }

    /// Notes the time of answers that say what the ledger said already: each of these entries was read with the given
    /// `observed_at`, and nothing else of it changes. Returns those whose rows may have been written since, to be
    /// written in whole: the guard then decides about each.
    pub async fn confirm(&self, same: Vec<(DateTime<Utc>, Entry)>) -> Result<Vec<Entry>, StoreError> {
        let mut same = same;
        same.sort_unstable_by(|(a, one), (b, other)| {
            (a, one.observed_at, &one.run).cmp(&(b, other.observed_at, &other.run))
        });
        let mut unconfirmed = Vec::new();
        // A page of the last pass has one time, so that these are few.
        for together in same.chunk_by(|(a, one), (b, other)| a == b && one.observed_at == other.observed_at) {
            for rows in keys::fitting(together, |(_, entry)| keys::key_bytes(entry.run.as_str())) {
                if !self.confirm_at_once(rows).await? {
                    unconfirmed.extend(rows.iter().map(|(_, entry)| entry.clone()));
                }
            }
        }
        Ok(unconfirmed)
    }

    /// Returns whether all of the rows were as they had been read.
    async fn confirm_at_once(&self, rows: &[(DateTime<Utc>, Entry)]) -> Result<bool, StoreError> {
        let Some((read_at, Entry { observed_at, .. })) = rows.first() else { return Ok(true) };
        let runs = rows.iter().map(|(_, entry)| entry.run.as_str());
        let confirm = Entity::update_many()
            .col_expr(Column::ObservedAt, Expr::val(*observed_at))
            .filter(keys::one_of(self.backend(), Expr::col(Column::RunKey), runs))
            .filter(Column::ObservedAt.eq(*read_at));
        let confirmed = self.db.execute("confirm the ledger", Limit::Batch, &confirm.into_query()).await?;
        Ok(confirmed == rows.len() as u64)
    }
}

/// Writes rows, each unless the table has an answer to a later question. Returns the runs of those rows that it
/// therefore did not write. They are to be sorted by run, as two workers that lock rows in one order cannot deadlock.
pub(super) async fn upsert(db: &DatabaseTransaction, entries: &[Entry]) -> Result<Vec<RunKey>, StoreError> {
    let backend = db.get_database_backend();
    let mut superseded = Vec::new();
    for entries in keys::fitting(entries, Entry::bytes) {
        let insert = insert(backend, entries);
        let of_these = match backend {
            DbBackend::MySql => insert_on_mysql(db, entries, insert).await,
            _ => insert_returning(db, entries, insert).await,
        };
        superseded.extend(of_these.map_err(StoreError::doing(WRITE))?);
    }
    Ok(superseded)
}

/// PostgreSQL and SQLite say themselves which rows they wrote.
async fn insert_returning(
    db: &DatabaseTransaction,
    entries: &[Entry],
    mut insert: InsertStatement,
) -> Result<Vec<RunKey>, DbErr> {
    let insert = db.get_database_backend().build(insert.returning_col(Column::RunKey));
    let rows = query(db, WRITE, insert).await?;
    let written = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<HashSet<String>, _>>()?;
    let superseded = entries.iter().filter(|entry| !written.contains(entry.run.as_str()));
    Ok(superseded.map(|entry| entry.run.clone()).collect())
}

/// MySQL says how many rows it changed, each counted twice: where that is all of them, none was superseded. Else, as a new
/// row counts once like one that stays, the rows are read again.
async fn insert_on_mysql(
    db: &DatabaseTransaction,
    entries: &[Entry],
    insert: InsertStatement,
) -> Result<Vec<RunKey>, DbErr> {
    let affected = execute(db, WRITE, DbBackend::MySql.build(&insert)).await?;
    if affected == 2 * entries.len() as u64 {
        return Ok(Vec::new());
    }
    let among =
        keys::one_of(DbBackend::MySql, Expr::col(Column::RunKey), entries.iter().map(|e| e.run.as_str()));
    let written = Entity::find().filter(among).into_query();
    let rows = query(db, WRITE, DbBackend::MySql.build(&written)).await?;
    let rows = rows.iter().map(|row| Model::from_query_result(row, "").map(|row| (row.run_key.clone(), row)));
    let rows = rows.collect::<Result<HashMap<_, _>, _>>()?;
    let is_written = |entry: &Entry| {
        rows.get(entry.run.as_str()).is_some_and(|row| {
            let clears = entry.cleared_at.is_some() && entry.brings_clear();
            row.observed_at == entry.observed_at.trunc_subsecs(6) && (!clears || row.cleared_at.is_some())
        })
    };
    Ok(entries.iter().filter(|entry| !is_written(entry)).map(|entry| entry.run.clone()).collect())
}

fn insert(backend: DbBackend, entries: &[Entry]) -> InsertStatement {
    let rows: Vec<_> = entries.iter().map(Entry::values).collect();
    let columns: Vec<Column> = rows.iter().take(1).flatten().map(|(column, _)| *column).collect();
    let mut insert = Query::insert();
    insert.into_table(Entity).columns(columns.clone()).on_conflict(unless_newer(backend, &columns));
    if backend == DbBackend::Postgres {
        let arrays = (0..columns.len()).map(|place| array(rows.iter().map(|row| &row[place].1)));
        // Refused only where the numbers of columns and values differ, as below.
        let _ = insert.select_from(Query::select().exprs(arrays).take());
    } else {
        for row in rows {
            let _ = insert.values(row.map(|(_, value)| Expr::val(value)));
        }
    }
    insert
}

/// A column's values as one array: one text for any number of rows, prepared once, and nothing to plan for each row.
/// Arrays of this query builder hold no NULL; an empty text is written for it.
fn array<'v>(values: impl Iterator<Item = &'v Value>) -> Expr {
    let mut sql = "NULLIF(unnest($1), '')";
    let text = |value: &Value| match value {
        Value::String(text) => text.clone().unwrap_or_default(),
        Value::Bool(is) => {
            sql = "NULLIF(unnest($1), '')::boolean";
            is.map(|is| is.to_string()).unwrap_or_default()
        }
        Value::ChronoDateTimeUtc(time) => {
            sql = "NULLIF(unnest($1), '')::timestamptz";
            time.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true)).unwrap_or_default()
        }
        // The ledger has no other.
        _ => String::new(),
    };
    let texts = keys::array(values.map(text).collect::<Vec<_>>().into_iter());
    Expr::cust_with_values(sql, [texts])
}

/// The guard: an answer to an earlier question never replaces that to a later one; and a clear is written only over the
/// null that it was decided on, so that a URL seen in between survives.
///
/// What an answer does not bring it carries along as it was read before: of that the row keeps its own, which may have
/// been committed since. An answer without a URL brings none, one without the run neither clears nor ends a clear, and a
/// column of `sync.also` without a value stays.
fn unless_newer(backend: DbBackend, columns: &[Column]) -> OnConflict {
    let is_mysql = backend == DbBackend::MySql;
    let new = |name: &str| if is_mysql { format!("VALUES({name})") } else { format!("excluded.{name}") };
    let old = |name: &str| if is_mysql { name.to_owned() } else { format!("course_sharing_ledger.{name}") };
    let (asked, cleared, null) = (new("observed_at"), new("cleared_at"), new("pending_clear_since"));
    let (asked_before, cleared_before, null_before) =
        (old("observed_at"), old("cleared_at"), old("pending_clear_since"));
    let (listed, refused) = (new("listed"), new("refused_since"));
    let brings_no_clear = format!("(NOT {listed} OR {refused} IS NOT NULL)");
    let guard = format!(
        "{asked} >= {asked_before} AND ({cleared} IS NULL OR {brings_no_clear} OR {cleared_before} IS NOT NULL \
         OR {null_before} <= {null})"
    );
    let brings_no_url = format!("({null} IS NOT NULL OR {brings_no_clear})");
    let mut conflict = OnConflict::column(Column::RunKey);
    for column in columns.iter().copied() {
        let name = sea_orm::IdenStatic::as_str(&column);
        let (new_value, old_value) = (new(name), old(name));
        let kept_where = |case: &str| format!("CASE WHEN {case} THEN {old_value} ELSE {new_value} END");
        let value = match column {
            Column::RunKey => continue,
            Column::MarketingUrl => kept_where(&brings_no_url),
            // A clear changes what is in force.
            Column::ChangedAt => {
                kept_where(&format!("{brings_no_url} AND ({cleared} IS NULL OR {brings_no_clear})"))
            }
            Column::ClearedAt => kept_where(&brings_no_clear),
            // A URL that was committed since it was read has ended the wait: it begins with this null.
            Column::PendingClearSince => {
                format!("CASE WHEN {null} IS NOT NULL AND {null_before} IS NULL THEN {asked} ELSE {null} END")
            }
            Column::EligibleForFinancialAid | Column::Language => {
                format!("COALESCE({new_value}, {old_value})")
            }
            _ => new_value,
        };
        let value = if is_mysql { format!("IF({guard}, {value}, {old_value})") } else { value };
        conflict.value(column, Expr::cust(value));
    }
    if !is_mysql {
        conflict.action_and_where(Expr::cust(guard));
    }
    conflict
}
