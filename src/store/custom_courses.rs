//! Which custom courses the LMS has of a run: found by the index of their ids, in microseconds where there are none.

use std::collections::HashSet;

use entity::overview;
use sea_orm::DbBackend;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, LikeExpr, Query, SelectStatement};

use super::choice::run_of_overview;
use super::timeout::Limit;
use super::{Store, StoreError, keys};
use crate::model::course_key::{CourseKey, RunKey};

/// Keys have no such character, so that none of theirs has to be taken for a wildcard.
const ESCAPE: char = '!';

impl Store {
    /// The custom courses of these courses' runs that the LMS has an overview of, in no order.
    pub async fn custom_courses_of(&self, courses: &[CourseKey]) -> Result<Vec<CourseKey>, StoreError> {
        let courses = self.that_overviews_hold(courses).await?;
        let runs: HashSet<RunKey> = courses.iter().map(CourseKey::run_key).collect();
        // Only keys of the new form have custom courses.
        let mut parents: Vec<&str> =
            runs.iter().filter_map(|run| run.as_str().strip_prefix("course-v1:")).collect();
        parents.sort_unstable();
        let mut found = Vec::new();
        let doing = "find custom courses";
        for parents in keys::fitting(&parents, |parent| 2 * keys::key_bytes(parent)) {
            let rows = self.db.rows(doing, Limit::Batch, &custom_courses(self.backend(), parents)).await?;
            for row in rows {
                let id: String = row.try_get_by_index(0).map_err(StoreError::doing(doing))?;
                // Byte for byte: MySQL finds keys that differ in case or accents too.
                let key = CourseKey::parse(&id).ok().filter(|key| key.is_ccx() && key.as_str() == id);
                found.extend(key.filter(|key| runs.contains(&key.run_key())));
            }
        }
        Ok(found)
    }
}

/// `parents` are keys without `course-v1:`.
fn custom_courses(backend: DbBackend, parents: &[&str]) -> SelectStatement {
    let id = || Expr::col((overview::Entity, overview::Column::Id));
    let is_one = match backend {
        // One text for any number of runs. The index is the one for LIKE that Django makes beside each key.
        DbBackend::Postgres => {
            let runs = parents.iter().map(|parent| format!("course-v1:{parent}"));
            let of_runs = run_of_overview(backend)
                .eq(sea_orm::sea_query::extension::postgres::PgFunc::any(Expr::val(keys::array(runs))));
            let is_ccx = Expr::cust("course_overviews_courseoverview.id LIKE 'ccx-v1:%'");
            Condition::all().add(is_ccx).add(of_runs)
        }
        DbBackend::MySql => parents.iter().fold(Condition::any(), |any, parent| {
            any.add(id().like(LikeExpr::new(pattern(parent)).escape(ESCAPE)))
        }),
        // Compared byte by byte: `:` comes after `9`.
        _ => parents.iter().fold(Condition::any(), |any, parent| {
            let from = format!("ccx-v1:{parent}+ccx@");
            any.add(id().gt(from.clone()).and(id().lt(format!("{from}:"))))
        }),
    };
    Query::select()
        .column((overview::Entity, overview::Column::Id))
        .from(overview::Entity)
        .cond_where(is_one)
        .to_owned()
}

fn pattern(parent: &str) -> String {
    let escaped = parent.replace('_', &format!("{ESCAPE}_")).replace('%', &format!("{ESCAPE}%"));
    format!("ccx-v1:{escaped}+ccx@%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_of_a_key_are_none() {
        assert_eq!(pattern("a_b+c+2025_T1"), "ccx-v1:a!_b+c+2025!_T1+ccx@%");
    }
}
