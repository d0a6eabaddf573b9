//! The rows of passes, and the changes that a pass's brake holds back.

use chrono::{DateTime, Utc};
use entity::{ledger, pass};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, FromQueryResult, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::limit::within;
use super::{Store, StoreError};

/// How far a pass is to be believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It has not ended, or was killed.
    #[default]
    Running,
    /// Every overview was settled by a whole answer.
    Complete,
    /// Some overview could not be settled.
    Incomplete,
    /// The brake held changes back.
    Refused,
    /// It ended early.
    Failed,
}

impl Verdict {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The row of one pass; see [`pass::Model`].
pub type PassRow = pass::Model;

/// A change that the brake held back.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult, serde::Serialize)]
pub struct Held {
    /// The run.
    pub run_key: String,
    /// The URL that stays for now.
    pub marketing_url: Option<String>,
    /// The URL that the Catalog has; none: it would be cleared.
    pub held_url: Option<String>,
}

impl Store {
    /// A new row for a pass that starts now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_pass(&self, page_size: i32) -> Result<PassRow, StoreError> {
        let now = self.now().await?;
        let row = pass::ActiveModel {
            started_at: Set(now),
            progress_at: Set(now),
            finished_at: Set(None),
            verdict: Set(Verdict::Running.as_str().to_owned()),
            position: Set(0),
            page_size: Set(page_size),
            listed: Set(0),
            updated: Set(0),
            cleared: Set(0),
            held_back: Set(0),
            failures: Set(0),
            report: Set("{}".to_owned()),
            ..Default::default()
        };
        row.insert(&self.db).await.map_err(StoreError::doing("begin a pass"))
    }

    /// Writes the row as it is now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn save_pass(&self, row: &PassRow) -> Result<(), StoreError> {
        let mut changed: pass::ActiveModel = row.clone().into();
        changed.progress_at = Set(self.now().await?);
        let changed = changed.reset_all();
        changed.update(&self.db).await.map_err(StoreError::doing("write a pass"))?;
        Ok(())
    }

    /// The newest passes, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_passes(&self, limit: u64) -> Result<Vec<PassRow>, StoreError> {
        let newest = pass::Entity::find().order_by_desc(pass::Column::Id).limit(limit);
        within("read passes", newest.all(&self.db)).await
    }

    /// The newest pass that has ended, whatever its verdict or with this one; none if there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_ended(&self, verdict: Option<Verdict>) -> Result<Option<PassRow>, StoreError> {
        let mut ended = pass::Entity::find().filter(pass::Column::FinishedAt.is_not_null());
        if let Some(verdict) = verdict {
            ended = ended.filter(pass::Column::Verdict.eq(verdict.as_str()));
        }
        within("read the last pass", ended.order_by_desc(pass::Column::Id).one(&self.db)).await
    }

    /// How many changes this pass has put aside for its brake.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn held_count(&self, pass: i64) -> Result<u64, StoreError> {
        ledger::Entity::find()
            .filter(ledger::Column::HeldBy.eq(pass))
            .count(&self.db)
            .await
            .map_err(StoreError::doing("count held changes"))
    }

    /// The changes put aside by this pass, in the order of their keys; at most `limit`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn held(&self, pass: i64, limit: u64) -> Result<Vec<Held>, StoreError> {
        ledger::Entity::find()
            .select_only()
            .columns([ledger::Column::RunKey, ledger::Column::MarketingUrl, ledger::Column::HeldUrl])
            .filter(ledger::Column::HeldBy.eq(pass))
            .order_by_asc(ledger::Column::RunKey)
            .limit(limit)
            .into_model()
            .all(&self.db)
            .await
            .map_err(StoreError::doing("read held changes"))
    }

    /// Puts the held changes of this pass into force in the ledger, at `now`; overviews follow by
    /// [`Store::copy_changes`]. Returns how many runs.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn let_through(&self, pass: i64, now: DateTime<Utc>) -> Result<u64, StoreError> {
        use ledger::Column as C;
        // A clear keeps the last URL, so that none is ever lost. MySQL assigns from left to right: held_url last.
        let cleared =
            Expr::case(C::HeldUrl.is_null(), Expr::val(now)).finally(Expr::val(None::<DateTime<Utc>>));
        let url = Expr::case(C::HeldUrl.is_null(), Expr::col(C::MarketingUrl)).finally(Expr::col(C::HeldUrl));
        let done = ledger::Entity::update_many()
            .col_expr(C::MarketingUrl, url.into())
            .col_expr(C::ClearedAt, cleared.into())
            .col_expr(C::ChangedAt, now.into())
            .col_expr(C::HeldBy, Expr::val(None::<i64>))
            .col_expr(C::HeldUrl, Expr::val(None::<String>))
            .filter(C::HeldBy.eq(pass))
            .exec(&self.db)
            .await;
        Ok(done.map_err(StoreError::doing("let held changes through"))?.rows_affected)
    }
}
