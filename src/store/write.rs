//! Every write of links: restore, heal, apply. Each is short, sorted against deadlocks, and tried again after one.

use std::borrow::Cow;
use std::sync::Arc;

use sea_orm::DbBackend;

use super::changes::Note;
use super::choice::FollowedRow;
use super::custom_courses::CustomCourses;
use super::timeout::Limit;
use super::update_links::{Clears, Scope, Write};
use super::{Entry, Halving, Store, StoreError, keys, ledger};
use crate::model::course_key::{CourseKey, RunKey};
use crate::telemetry::{metrics, report};

const RESTORE: &str = "restore links";
const APPLY: &str = "write links";

/// What applying a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Overviews that were written.
    pub overviews: u64,
    /// Runs of which the ledger has an answer to a later question already: nothing was written of them.
    pub superseded: Vec<RunKey>,
}

impl Store {
    /// Gives these courses' overviews, and those of their runs' custom courses, the URLs that the ledger has for them,
    /// where they differ, and never a clear.
    /// Returns which were written. Where nothing is lost it is one short statement that locks nothing. An overview that
    /// the database rejects stays as it is; writing what the Catalog says of it meets the same.
    pub async fn restore(&self, courses: &[CourseKey]) -> Result<Vec<CourseKey>, StoreError> {
        let (mut restored, mut halving) = (Vec::new(), Halving::new(courses.len()));
        while let Some(part) = halving.next_part() {
            match self.restore_at_once(&courses[part.clone()], CustomCourses::With).await {
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
        match self.restore_at_once(std::slice::from_ref(course), CustomCourses::Without).await {
            Err(error) if error.is_of_a_row() => Ok(Vec::new()),
            restored => restored,
        }
    }

    /// The same for some overviews; a row that the database rejects fails all of them.
    async fn restore_at_once(
        &self,
        courses: &[CourseKey],
        custom: CustomCourses,
    ) -> Result<Vec<CourseKey>, StoreError> {
        let courses = self.that_overviews_hold(courses).await?;
        let note = self.note().await?;
        let mut restored = Vec::new();
        for courses in keys::fitting(&courses, Scope::course_bytes(custom)) {
            let mut ids = self.restore_from(FollowedRow::Run, Scope::Courses(courses, custom), &note).await?;
            let ccx = custom_courses(courses);
            if !ccx.is_empty() {
                let scope = Scope::Courses(&ccx, CustomCourses::Without);
                ids.extend(self.restore_from(FollowedRow::Own, scope, &note).await?);
            }
            restored.extend(ids.iter().filter_map(|id| CourseKey::parse(id).ok()));
        }
        Ok(restored)
    }

    /// Returns the ids of the overviews that had lost something and have it again.
    async fn restore_from(
        &self,
        from: FollowedRow,
        scope: Scope<'_>,
        note: &Note,
    ) -> Result<Vec<String>, StoreError> {
        let update = self.link_update(from, scope, Clears::Leave);
        if self.backend() == DbBackend::Postgres {
            let written = self.db.values(RESTORE, Limit::Batch, update.write(note).update).await;
            return written.inspect_err(|error| self.writes().note(error));
        }
        // On MySQL an update returns nothing, and on SQLite one that changes nothing waits for other writers.
        let lost: Vec<String> = self.db.values(RESTORE, Limit::Batch, &update.differing_ids()).await?;
        if !lost.is_empty() {
            self.commit(RESTORE, Vec::new(), vec![update.write(note)]).await?;
        }
        Ok(lost)
    }

    /// Writes what was observed to the ledger, unless something newer is there, and the links that follow from the
    /// ledger to these courses' overviews, both in one transaction. An answer that was refused may mean that our clock
    /// is behind: it is read again before it is used.
    ///
    /// Dropping the future does not stop the transaction half way: it runs on a task of its own.
    pub async fn apply(&self, entries: Vec<Entry>, courses: Vec<CourseKey>) -> Result<Applied, StoreError> {
        self.write(entries, courses, Clears::Copy).await
    }

    /// The same, with or without clears of links.
    pub(super) async fn write(
        &self,
        mut entries: Vec<Entry>,
        mut courses: Vec<CourseKey>,
        clears: Clears,
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
        let note = self.note().await?;
        let mut writes = Vec::new();
        let mut write = |from, courses: &[CourseKey]| {
            writes.push(
                self.link_update(from, Scope::Courses(courses, CustomCourses::Without), clears).write(&note),
            );
        };
        for courses in keys::fitting(&courses, Scope::course_bytes(CustomCourses::Without)) {
            write(FollowedRow::Run, courses);
            let custom = custom_courses(courses);
            if !custom.is_empty() {
                write(FollowedRow::Own, &custom);
            }
        }
        let applied = self.commit(APPLY, entries, writes).await?;
        if !applied.superseded.is_empty() {
            metrics::get().ledger_refused.add(applied.superseded.len() as u64);
            self.clock.doubt();
        }
        Ok(applied)
    }

    /// Writes all of these in one transaction.
    async fn commit(
        &self,
        doing: &'static str,
        entries: Vec<Entry>,
        writes: Vec<Write>,
    ) -> Result<Applied, StoreError> {
        let (entries, writes): (Arc<[Entry]>, Arc<[Write]>) = (entries.into(), writes.into());
        let applied = self
            .db
            .transaction(doing, Limit::Batch, move |transaction| {
                let (entries, writes) = (entries.clone(), writes.clone());
                Box::pin(async move {
                    let superseded = ledger::upsert(transaction, &entries).await?;
                    let mut overviews = 0;
                    for write in writes.iter() {
                        overviews += write.execute(transaction, doing).await?;
                    }
                    Ok(Applied { overviews, superseded })
                })
            })
            .await?;
        self.writes().committed();
        Ok(applied)
    }
}

fn custom_courses(courses: &[CourseKey]) -> Vec<CourseKey> {
    courses.iter().filter(|course| course.is_ccx()).cloned().collect()
}
