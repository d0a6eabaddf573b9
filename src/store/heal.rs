//! Healing, and what a pass copies at its end: it reads which overviews differ from the ledger, and writes some at a time.
//! So no lock is held for long, nothing is locked where nothing differs, and a row that the database rejects keeps no
//! other from its link.

use chrono::{DateTime, Utc};

use super::choice::FollowedRow;
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
        for courses in self.differing(scope, clears).await?.chunks(MAX_ROWS) {
            let mut halving = Halving::new(courses.len());
            while let Some(part) = halving.next_part() {
                match self.write(Vec::new(), courses[part.clone()].to_vec(), clears).await {
                    Ok(applied) => healed.overviews += applied.overviews,
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
        Ok(healed)
    }

    /// The courses whose overviews differ from the ledger, sorted; as many as the LMS has courses, at most.
    async fn differing(&self, scope: Scope<'_>, clears: Clears) -> Result<Vec<CourseKey>, StoreError> {
        let mut courses = Vec::new();
        for from in [FollowedRow::Run, FollowedRow::Own] {
            let query = self.link_update(from, scope, clears).differing_ids();
            let ids: Vec<String> =
                self.db.values("find overviews that differ from the ledger", Limit::Table, &query).await?;
            // An id that is no key has no row in the ledger.
            courses.extend(
                ids.iter().filter_map(|id| CourseKey::parse(id).ok().filter(|key| key.as_str() == id)),
            );
        }
        courses.sort_unstable();
        Ok(courses)
    }
}
