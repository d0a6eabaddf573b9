//! Healing, and what a pass copies at its end: one transaction for all overviews; and where the database rejects a row of
//! theirs, some at a time, so that all others are written.

use chrono::{DateTime, Utc};
use entity::overview;
use sea_orm::sea_query::{Expr, ExprTrait, Order};

use super::choice::From;
use super::custom_courses::Of;
use super::timeout::Limit;
use super::update_links::{Clears, Scope};
use super::{ChangedBy, Halving, MAX_ROWS, Store, StoreError};
use crate::model::course_key::CourseKey;
use crate::telemetry::report;

/// What a write of all overviews came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healed {
    /// Overviews that were written.
    pub overviews: u64,
    /// Those that the database rejects.
    pub rejected: Vec<Rejected>,
}

/// A course whose row the database rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The course.
    pub course: CourseKey,
    /// What the database says.
    pub why: String,
}

impl Store {
    /// Gives every overview the URL that the ledger has for it, where they differ, and never a clear.
    pub async fn heal(&self) -> Result<Healed, StoreError> {
        let store = self.clone().writing_as(ChangedBy::Heal);
        store.copy_to_all(Scope::All, Clears::Leave).await
    }

    /// Copies every change of the ledger since `since`, clears included, to all overviews of the runs; what a pass
    /// does at its end for custom courses and for what its brake let through.
    pub async fn copy_changes(&self, since: DateTime<Utc>) -> Result<Healed, StoreError> {
        self.copy_to_all(Scope::ChangedSince(since), Clears::Copy).await
    }

    async fn copy_to_all(&self, scope: Scope<'_>, clears: Clears) -> Result<Healed, StoreError> {
        let mut healed = Healed::default();
        match self.copy_at_once(scope, clears).await {
            Ok(overviews) => return Ok(Healed { overviews, ..healed }),
            Err(error) if error.is_of_a_row() => {}
            Err(error) => return Err(error),
        }
        for from in [From::Run, From::Own] {
            self.parts_of(from, scope, clears, &mut healed).await?;
        }
        Ok(healed)
    }

    async fn parts_of(
        &self,
        from: From,
        scope: Scope<'_>,
        clears: Clears,
        healed: &mut Healed,
    ) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let ids = self.due(from, scope, clears, after.as_deref()).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = Some(last.clone());
            // An id that is no key has no row in the ledger.
            let courses: Vec<CourseKey> = ids
                .iter()
                .filter_map(|id| CourseKey::parse(id).ok().filter(|key| key.as_str() == id))
                .collect();
            let mut halving = Halving::new(courses.len());
            while let Some(part) = halving.next_part() {
                let written = match clears {
                    Clears::Leave => self
                        .restore_at_once(&courses[part.clone()], Of::Courses)
                        .await
                        .map(|ids| ids.len() as u64),
                    Clears::Copy => {
                        let applied = self.apply(Vec::new(), courses[part.clone()].to_vec()).await;
                        applied.map(|applied| applied.overviews)
                    }
                };
                match written {
                    Ok(overviews) => healed.overviews += overviews,
                    Err(error) if error.is_of_a_row() => {
                        let course = halving.rejected(part).and_then(|alone| courses.get(alone));
                        let rejected =
                            course.map(|course| Rejected { course: course.clone(), why: report(&error) });
                        healed.rejected.extend(rejected);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The next overviews that differ from the ledger, in the order of the database.
    async fn due(
        &self,
        from: From,
        scope: Scope<'_>,
        clears: Clears,
        after: Option<&str>,
    ) -> Result<Vec<String>, StoreError> {
        let mut query = self.copying(from, scope, clears).due();
        let id = (overview::Entity, overview::Column::Id);
        query.and_where_option(after.map(|after| Expr::col(id).gt(after)));
        query.order_by(id, Order::Asc).limit(MAX_ROWS as u64);
        self.db.values("find overviews that differ from the ledger", Limit::Table, &query).await
    }
}
