//! Which custom courses the LMS has of a run: found by the index of their ids, in microseconds where there are none.

use std::collections::HashSet;

use entity::overview;
use sea_orm::sea_query::extension::postgres::PgFunc;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, LikeExpr};
use sea_orm::{DbBackend, EntityTrait, QueryFilter, QuerySelect, QueryTrait};

use super::choice::{is_ccx, run_of_overview};
use super::timeout::Limit;
use super::{Store, StoreError, keys};
use crate::model::course_key::{CourseKey, RunKey};

/// Keys have no such character, so that none of theirs has to be taken for a wildcard.
const ESCAPE: char = '!';
const NEW_FORM: &str = "course-v1:";

/// Whether a statement about some courses is about the custom courses of their runs, too.
#[derive(Clone, Copy)]
pub(super) enum CustomCourses {
    Without,
    With,
}

impl CustomCourses {
    /// In how many lists a condition on the overviews names each course.
    pub(super) fn lists(self) -> usize {
        match self {
            Self::Without => 1,
            Self::With => 2,
        }
    }

    /// The runs whose custom courses the statement is about too.
    pub(super) fn runs(self, courses: &[CourseKey]) -> HashSet<RunKey> {
        match self {
            Self::Without => HashSet::new(),
            Self::With => courses.iter().map(CourseKey::run_key).collect(),
        }
    }
}

impl Store {
    /// The custom courses of these courses' runs that the LMS has an overview of, in no order.
    pub async fn custom_courses_of(&self, courses: &[CourseKey]) -> Result<Vec<CourseKey>, StoreError> {
        let courses = self.that_overviews_hold(courses).await?;
        let mut found = Vec::new();
        for courses in keys::fitting(&courses, keys::course_bytes(1)) {
            let runs: HashSet<RunKey> = courses.iter().map(CourseKey::run_key).collect();
            let Some(of_runs) = of_custom_courses(self.backend(), &runs) else { continue };
            let select = overview::Entity::find().select_only().column(overview::Column::Id).filter(of_runs);
            let ids = self.db.values("find custom courses", Limit::Batch, &select.into_query()).await?;
            found.extend(ids.iter().filter_map(|id: &String| custom_course_of(id, &runs)));
        }
        Ok(found)
    }
}

/// The key, if it is that of a custom course of one of these runs, byte for byte.
pub(super) fn custom_course_of(id: &str, runs: &HashSet<RunKey>) -> Option<CourseKey> {
    let key = CourseKey::parse(id).ok().filter(|key| key.is_ccx() && key.as_str() == id);
    key.filter(|key| runs.contains(&key.run_key()))
}

/// Whether an overview is that of a custom course of one of these runs; on MySQL the key may differ in case or accents.
/// Nothing where no run can have one: only keys of the new form can.
pub(super) fn of_custom_courses(backend: DbBackend, runs: &HashSet<RunKey>) -> Option<Condition> {
    let id = || Expr::col((overview::Entity, overview::Column::Id));
    let mut parents: Vec<&str> = runs.iter().filter_map(|run| run.as_str().strip_prefix(NEW_FORM)).collect();
    parents.sort_unstable();
    let among = match backend {
        // One text for any number of runs. The index is the one for LIKE that Django makes beside each key.
        DbBackend::Postgres => {
            let runs = parents.iter().map(|parent| format!("{NEW_FORM}{parent}"));
            let of_runs = run_of_overview(backend).eq(PgFunc::any(Expr::val(keys::array(runs))));
            Condition::all().add(Expr::cust(is_ccx(backend))).add(of_runs)
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
    (!parents.is_empty()).then_some(among)
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
