//! Every write of links: restore, heal, apply. Each is short, sorted against deadlocks, and tried again after one.

use std::borrow::Cow;
use std::sync::Arc;

use entity::overview;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use super::choice::From;
use super::copy::{Clears, Scope};
use super::custom_courses::Of;
use super::pool::Pool;
use super::timeout::{Limit, execute};
use super::{Entry, Halving, Store, StoreError, keys, ledger};
use crate::model::course_key::{CourseKey, RunKey};
use crate::telemetry::{metrics, report};

const RESTORE: &str = "restore links";
const APPLY: &str = "write links";
const COPY: &str = "copy links to all overviews";

/// What applying a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Overviews that were written.
    pub overviews: u64,
    /// Runs of which the ledger has an answer to a later question already: nothing was written of them.
    pub refused: Vec<RunKey>,
}

impl Store {
    /// Gives these courses' overviews, and those of their runs' custom courses, the URLs that the ledger has for them,
    /// where they differ, and never a clear.
    /// Returns which were written. Where nothing is lost it is one short statement that locks nothing. An overview that
    /// the database rejects stays as it is; writing what the Catalog says of it meets the same.
    pub async fn restore(&self, courses: &[CourseKey]) -> Result<Vec<CourseKey>, StoreError> {
        let (mut restored, mut halving) = (Vec::new(), Halving::new(courses.len()));
        while let Some(part) = halving.next_part() {
            match self.restore_at_once(&courses[part.clone()], Of::CoursesAndCustom).await {
                Ok(written) => restored.extend(written),
                Err(error) if error.is_of_a_row() => {
                    if let Some(course) = halving.rejected(part).and_then(|alone| courses.get(alone)) {
                        restored.extend(self.restore_alone(course, &error).await?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(restored)
    }

    /// For a course that was rejected alone: one of its custom courses may be to blame, which are left to heal then.
    async fn restore_alone(
        &self,
        course: &CourseKey,
        error: &StoreError,
    ) -> Result<Vec<CourseKey>, StoreError> {
        tracing::debug!(event = "overview.not_restored", %course, error = report(error));
        match self.restore_at_once(std::slice::from_ref(course), Of::Courses).await {
            Err(error) if error.is_of_a_row() => Ok(Vec::new()),
            restored => restored,
        }
    }

    /// The same for some overviews; a row that the database rejects fails all of them.
    pub(super) async fn restore_at_once(
        &self,
        courses: &[CourseKey],
        of: Of,
    ) -> Result<Vec<CourseKey>, StoreError> {
        let courses = self.that_overviews_hold(courses).await?;
        let mut restored = Vec::new();
        for courses in keys::fitting(&courses, Scope::course_bytes(of)) {
            let mut restores = vec![self.restore_from(From::Run, Scope::Courses(courses, of))];
            let custom = custom_courses(courses);
            if !custom.is_empty() {
                restores.push(self.restore_from(From::Own, Scope::Courses(&custom, Of::Courses)));
            }
            let restoring = move |pool: Pool| {
                let restores = restores.clone();
                async move {
                    let mut ids = Vec::new();
                    for restore in restores {
                        ids.extend(restore.execute(&pool.db).await.map_err(StoreError::doing(RESTORE))?);
                    }
                    Ok(ids)
                }
            };
            let ids = self.db.with_timeout(RESTORE, Limit::Batch, restoring).await;
            let ids = ids.inspect_err(|error| self.writes.note(error))?;
            restored.extend(ids.iter().filter_map(|id| CourseKey::parse(id).ok()));
        }
        Ok(restored)
    }

    fn restore_from(&self, from: From, scope: Scope<'_>) -> Restore {
        let backend = self.backend();
        let copying = self.copying(from, scope, Clears::Leave);
        let mut update = copying.update();
        if backend == DbBackend::Postgres {
            update.returning_col(overview::Column::Id);
            return Restore { lost: None, update: backend.build(&update) };
        }
        Restore { lost: Some(backend.build(&copying.due())), update: backend.build(&update) }
    }

    /// Copies to all overviews in scope, in one transaction; a row that the database rejects fails all of them. Returns
    /// how many were written.
    pub(super) async fn copy_at_once(&self, scope: Scope<'_>, clears: Clears) -> Result<u64, StoreError> {
        let copies = [From::Run, From::Own].map(|from| self.copy(from, scope, clears));
        let overviews: u64 = self.db.execute_all(COPY, Limit::Table, copies.into()).await?.iter().sum();
        if overviews > 0 {
            self.writes.committed();
        }
        Ok(overviews)
    }

    fn copy(&self, from: From, scope: Scope<'_>, clears: Clears) -> Statement {
        self.backend().build(&self.copying(from, scope, clears).update())
    }

    /// Writes what was observed to the ledger, unless something newer is there, and the links that follow from the
    /// ledger to these courses' overviews, both in one transaction. An answer that was refused may mean that our clock
    /// is behind: it is read again before it is used.
    ///
    /// Dropping the future does not stop the transaction half way: it runs on a task of its own.
    pub async fn apply(
        &self,
        mut entries: Vec<Entry>,
        mut courses: Vec<CourseKey>,
    ) -> Result<Applied, StoreError> {
        if entries.is_empty() && courses.is_empty() {
            return Ok(Applied::default());
        }
        // Sorted, as two workers that lock rows in one order cannot deadlock.
        entries.sort_unstable_by(|a, b| a.run.cmp(&b.run));
        courses.sort_unstable();
        courses.dedup();
        if let Cow::Owned(held) = self.that_overviews_hold(&courses).await? {
            courses = held;
        }
        let mut copies = Vec::new();
        for courses in keys::fitting(&courses, Scope::course_bytes(Of::Courses)) {
            copies.push(self.copy(From::Run, Scope::Courses(courses, Of::Courses), Clears::Copy));
            let custom = custom_courses(courses);
            if !custom.is_empty() {
                copies.push(self.copy(From::Own, Scope::Courses(&custom, Of::Courses), Clears::Copy));
            }
        }
        let (entries, copies): (Arc<[Entry]>, Arc<[Statement]>) = (entries.into(), copies.into());
        let applied = self
            .db
            .transaction(APPLY, Limit::Batch, move |transaction| {
                let (entries, copies) = (entries.clone(), copies.clone());
                Box::pin(async move {
                    let refused = ledger::upsert(transaction, &entries).await?;
                    let mut overviews = 0;
                    for copy in copies.iter() {
                        overviews += execute(transaction, APPLY, copy.clone()).await?;
                    }
                    Ok(Applied { overviews, refused })
                })
            })
            .await?;
        self.writes.committed();
        if !applied.refused.is_empty() {
            metrics::get().ledger_refused.add(applied.refused.len() as u64);
            self.clock.doubt();
        }
        Ok(applied)
    }
}

fn custom_courses(courses: &[CourseKey]) -> Vec<CourseKey> {
    courses.iter().filter(|course| course.is_ccx()).cloned().collect()
}

/// The statements that give links back.
#[derive(Clone)]
struct Restore {
    /// Finds what is lost, where the update cannot say it: on MySQL an update returns nothing, and on SQLite one that
    /// changes nothing waits for other writers.
    lost: Option<Statement>,
    update: Statement,
}

impl Restore {
    /// The ids of the overviews that had lost something and have it again.
    async fn execute(self, db: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
        let rows = match self.lost {
            None => db.query_all_raw(self.update).await?,
            Some(lost) => {
                let lost = db.query_all_raw(lost).await?;
                if !lost.is_empty() {
                    db.execute_raw(self.update).await?;
                }
                lost
            }
        };
        rows.iter().map(|row| row.try_get_by_index(0)).collect()
    }
}
