//! Dead letters: rows of the table `course_sharing_dead_letter` that are taken over once, looked at as often as anybody likes, and discarded.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
pub use entity::dead_letter::Model as Letter;
use entity::dead_letter::{ActiveModel, Column, Entity};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, Condition, DbBackend, EntityTrait, FromQueryResult,
    IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Statement,
};

use super::timeout::Limit::{Batch, Table};
use super::timeout::execute;
use super::{Store, StoreError};
use crate::model::course_key::CourseKey;

/// The largest body that is kept whole: RabbitMQ's own limit on messages from 4.0 on.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// What a row takes besides its body in a statement: properties, and its short columns.
const BESIDE_BODY: usize = 256 * 1024;
/// Of a body that is not kept whole, so much is. A message that this program understands is never longer.
const BEGINNING: usize = 64 * 1024;
/// Bytes of a short column.
const MAX_TEXT: usize = 255;

const TAKE: &str = "keep dead letters";
const READ: &str = "read dead letters";
const DISCARD: &str = "discard dead letters";

/// What a list shows of a dead letter: all but body and properties.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult, serde::Serialize)]
pub struct LetterHead {
    /// By which it is named.
    pub id: i64,
    /// How long the body was.
    #[serde(rename = "bytes")]
    pub body_bytes: i64,
    /// The routing key it was first published with.
    pub routing_key: String,
    /// Why it is dead.
    pub reason: String,
    /// The course that it is about, or names.
    pub course_id: Option<String>,
    /// When this program first saw it.
    pub first_seen: DateTime<Utc>,
}

/// Which dead letters are meant: those to which all of this applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// One of these; empty is any.
    pub ids: Vec<i64>,
    /// About this course, or naming it first.
    pub course: Option<CourseKey>,
    /// With this text in the reason, byte for byte.
    pub reason: Option<String>,
}

impl LetterFilter {
    fn condition(&self, backend: DbBackend) -> Condition {
        let contains = |text: &str| match backend {
            DbBackend::Postgres => Expr::cust_with_values("strpos(reason, $1) > 0", [text]),
            DbBackend::MySql => Expr::cust_with_values("INSTR(reason, BINARY ?) > 0", [text]),
            _ => Expr::cust_with_values("INSTR(reason, ?) > 0", [text]),
        };
        Condition::all()
            .add_option((!self.ids.is_empty()).then(|| Column::Id.is_in(self.ids.iter().copied())))
            .add_option(self.course.as_ref().map(|course| Column::CourseId.eq(course.as_str())))
            .add_option(self.reason.as_deref().map(contains))
    }
}

impl Store {
    /// Keeps messages as dead letters, all or none; `id`, `body_bytes` and `taken_at` of each are given here. Of one that is there
    /// already, what may differ is kept as it is now. A body that is too large for the database is cut; its length and
    /// SHA-256 are kept.
    pub async fn keep_letters(&self, letters: &[Letter]) -> Result<(), StoreError> {
        let taken_at = self.now().await?;
        let limit = if letters.iter().any(|letter| letter.body.len() > BESIDE_BODY) {
            self.body_limit().await?
        } else {
            MAX_BODY
        };
        // One statement a row, as all together may be more than a statement can carry.
        let rows = letters.iter().map(|letter| {
            let last =
                [Column::Properties, Column::Reason, Column::Attempt, Column::FirstSeen, Column::TakenAt];
            let there = OnConflict::column(Column::Digest).update_columns(last).to_owned();
            Entity::insert(row(letter, limit, taken_at)).on_conflict(there).build(self.backend())
        });
        let rows: Arc<[Statement]> = rows.collect();
        let take = self.db.transaction(TAKE, Batch, move |transaction| {
            let rows = rows.clone();
            Box::pin(async move {
                for row in rows.iter() {
                    execute(transaction, TAKE, row.clone()).await?;
                }
                Ok(())
            })
        });
        take.await
    }

    /// The longest body that one statement can carry.
    async fn body_limit(&self) -> Result<usize, StoreError> {
        if self.backend() != DbBackend::MySql {
            return Ok(MAX_BODY);
        }
        let sql = "SELECT CAST(@@max_allowed_packet AS SIGNED)";
        let ask = Statement::from_string(DbBackend::MySql, sql);
        let packet = self.db.values::<i64>(TAKE, Batch, ask).await?.first().copied().unwrap_or_default();
        Ok(usize::try_from(packet).unwrap_or(0).saturating_sub(BESIDE_BODY).min(MAX_BODY))
    }

    /// How many dead letters there are of these.
    pub async fn count_letters(&self, filter: &LetterFilter) -> Result<u64, StoreError> {
        let counted = Entity::find().select_only().filter(filter.condition(self.backend()));
        self.db.count("count dead letters", Table, counted.into_query()).await
    }

    /// The first `limit` of these after the one with the id `after`, the oldest first; a page of a list.
    pub async fn letters(
        &self,
        filter: &LetterFilter,
        after: i64,
        limit: u64,
    ) -> Result<Vec<LetterHead>, StoreError> {
        let page = Entity::find()
            .select_only()
            .columns([
                Column::Id,
                Column::BodyBytes,
                Column::RoutingKey,
                Column::Reason,
                Column::CourseId,
                Column::FirstSeen,
            ])
            .filter(filter.condition(self.backend()))
            .filter(Column::Id.gt(after))
            .order_by_asc(Column::Id)
            .limit(limit);
        self.db.all(READ, Batch, &page.into_query()).await
    }

    /// A dead letter, whole; none if it is gone.
    pub async fn letter(&self, id: i64) -> Result<Option<Letter>, StoreError> {
        self.db.one(READ, Batch, &Entity::find_by_id(id).into_query()).await
    }

    /// Discards these, and returns how many.
    pub async fn discard_letters(&self, filter: &LetterFilter) -> Result<u64, StoreError> {
        self.delete::<Entity>(DISCARD, Column::Id, filter.condition(self.backend())).await
    }

    /// The courses of the dead letters that can be understood.
    pub async fn courses_of_letters(&self) -> Result<Vec<CourseKey>, StoreError> {
        let courses = Entity::find()
            .select_only()
            .column(Column::CourseId)
            .distinct()
            .filter(Column::CourseId.is_not_null())
            .filter(Column::Understood.eq(true));
        let ids: Vec<String> = self.db.values(READ, Table, &courses.into_query()).await?;
        Ok(ids.into_iter().filter_map(|id| CourseKey::parse(&id).ok()).collect())
    }

    /// Discards the dead letters about a course that can be understood and were first seen before `before`.
    pub async fn discard_letters_of(
        &self,
        course: &CourseKey,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let discarding = Entity::delete_many()
            .filter(Column::CourseId.eq(course.as_str()))
            .filter(Column::Understood.eq(true))
            .filter(Column::FirstSeen.lt(before));
        self.db.execute(DISCARD, Batch, &discarding.into_query()).await
    }

    /// Discards the oldest dead letters: those taken over longer ago than `age`, and those beyond the newest `count`.
    /// Returns how many.
    pub async fn discard_old_letters(&self, age: TimeDelta, count: u64) -> Result<u64, StoreError> {
        let before = self.now().await? - age;
        let beyond =
            Entity::find().select_only().column(Column::Id).order_by_desc(Column::Id).offset(count).limit(1);
        let beyond: Vec<i64> = self.db.values(READ, Batch, &beyond.into_query()).await?;
        let beyond = beyond.first().copied().unwrap_or(0);
        let old = Condition::any().add(Column::TakenAt.lt(before)).add(Column::Id.lte(beyond));
        self.delete::<Entity>(DISCARD, Column::Id, old).await
    }
}

fn row(letter: &Letter, limit: usize, taken_at: DateTime<Utc>) -> ActiveModel {
    let mut letter = letter.clone();
    letter.body_bytes = i64::try_from(letter.body.len()).unwrap_or(i64::MAX);
    if letter.body.len() > limit {
        letter.body.truncate(BEGINNING.min(limit));
    }
    letter.routing_key = text(&letter.routing_key);
    letter.content_type = letter.content_type.as_deref().map(text);
    letter.reason = text(&letter.reason);
    letter.taken_at = taken_at;
    ActiveModel { id: NotSet, ..letter.into_active_model().reset_all() }
}

/// A text as every database holds it: PostgreSQL has no NUL.
fn text(value: &str) -> String {
    value[..value.floor_char_boundary(MAX_TEXT)].replace('\0', "?")
}
