//! Reading the LMS's overviews: by course for events, in order for passes, and counted for people.

use std::collections::{HashMap, HashSet};

use entity::{ledger, overview};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query};
use sea_orm::{
    DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
};

use super::blanks::has_part;
use super::choice::run_of_overview;
use super::coverage::{SeenSince, unsettled};
use super::custom_courses::{CustomCourses, custom_course_of, of_custom_courses};
use super::timeout::Limit::{Batch, Table};
use super::{Entry, Store, StoreError, keys};
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::{Also, AlsoChange, AlsoColumn};

/// An overview, as far as links go. An empty link is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The course.
    pub course: CourseKey,
    /// The link it has now.
    pub marketing_url: Option<String>,
    /// A link of the course team's own.
    pub social_sharing_url: Option<String>,
    /// Its columns of `sync.also`.
    pub also: Also,
}

impl Overview {
    /// Where its columns of `sync.also` differ from what is `known` of its run. A custom course has values of its own.
    pub fn also_changes(&self, known: &Also) -> Vec<AlsoChange> {
        if self.course.is_ccx() { Vec::new() } else { self.also.changes_to(known) }
    }
}

/// What the database knows of one course before the Catalog is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The course.
    pub course: CourseKey,
    /// Its overview, if the LMS has one yet.
    pub overview: Option<Overview>,
    /// Its run's row in the ledger; of a custom course its parent's.
    pub entry: Option<Entry>,
    /// Of a custom course, the row of a listing of its own.
    pub own: Option<Entry>,
}

impl Snapshot {
    /// The row whose URL the overview should have.
    pub fn followed(&self) -> Option<&Entry> {
        Entry::choose(self.entry.as_ref(), self.own.as_ref())
    }
}

/// How many overviews have a link of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromQueryResult)]
pub struct Counts {
    /// Overviews with a `marketing_url`.
    pub linked: i64,
    /// Overviews without.
    pub blank: i64,
}

impl Store {
    /// Overview and ledger row of each of these courses, in their order, duplicates once; two short statements at
    /// the same time for as many as fit into them.
    pub async fn snapshots(&self, courses: &[CourseKey]) -> Result<Vec<Snapshot>, StoreError> {
        self.snapshots_of(courses, CustomCourses::Without).await.map(|(snapshots, _)| snapshots)
    }

    /// The same, and the custom courses of their runs that the LMS has an overview of, in no order.
    pub async fn snapshots_with_custom(
        &self,
        courses: &[CourseKey],
    ) -> Result<(Vec<Snapshot>, Vec<CourseKey>), StoreError> {
        self.snapshots_of(courses, CustomCourses::With).await
    }

    async fn snapshots_of(
        &self,
        courses: &[CourseKey],
        custom: CustomCourses,
    ) -> Result<(Vec<Snapshot>, Vec<CourseKey>), StoreError> {
        let own = courses.iter().filter(|course| course.is_ccx()).map(CourseKey::own_key);
        let runs: HashSet<RunKey> = courses.iter().map(CourseKey::run_key).chain(own).collect();
        let runs: Vec<RunKey> = runs.into_iter().collect();
        let (mut overviews, entries) =
            tokio::try_join!(self.overviews_of(courses, custom), self.entries(&runs))?;
        let mut seen = HashSet::new();
        let snapshots = courses
            .iter()
            .filter(|course| seen.insert(*course))
            .map(|course| Snapshot {
                course: course.clone(),
                overview: overviews.remove(course),
                entry: entries.get(&course.run_key()).cloned(),
                own: course.is_ccx().then(|| entries.get(&course.own_key()).cloned()).flatten(),
            })
            .collect();
        let custom = overviews.into_keys().filter(|course| !seen.contains(course)).collect();
        Ok((snapshots, custom))
    }

    /// The overviews of these courses; those that the LMS has not are not in the map.
    pub async fn overviews(&self, courses: &[CourseKey]) -> Result<HashMap<CourseKey, Overview>, StoreError> {
        self.overviews_of(courses, CustomCourses::Without).await
    }

    async fn overviews_of(
        &self,
        courses: &[CourseKey],
        custom: CustomCourses,
    ) -> Result<HashMap<CourseKey, Overview>, StoreError> {
        let mut overviews = HashMap::with_capacity(courses.len());
        for courses in keys::fitting(courses, keys::course_bytes(custom.lists())) {
            let rows = self.rows(courses, custom, "read overviews").await?;
            overviews.extend(rows.into_iter().map(|row| (row.course.clone(), row)));
        }
        Ok(overviews)
    }

    /// The first `limit` overviews with this text in their id, in capitals or not, each with its link. Where few have it,
    /// this reads the whole table.
    pub async fn find_overviews(
        &self,
        part: &str,
        limit: u64,
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let found = overview::Entity::find()
            .select_only()
            .columns([overview::Column::Id, overview::Column::MarketingUrl])
            .filter(has_part(self.backend(), "id", part))
            .order_by_asc(overview::Column::Id)
            .limit(limit);
        let rows: Vec<(String, Option<String>)> =
            self.db.values("find overviews", Batch, &found.into_query()).await?;
        Ok(rows.into_iter().map(|(id, url)| (id, non_empty(url))).collect())
    }

    /// The links of these courses, in one statement whatever their number; unknown ones are not in the answer.
    pub async fn links(&self, courses: &[CourseKey]) -> Result<Vec<Overview>, StoreError> {
        self.rows(courses, CustomCourses::Without, "read links").await
    }

    async fn rows(
        &self,
        courses: &[CourseKey],
        custom: CustomCourses,
        doing: &'static str,
    ) -> Result<Vec<Overview>, StoreError> {
        let courses = self.that_overviews_hold(courses).await?;
        if courses.is_empty() {
            return Ok(Vec::new());
        }
        let id = Expr::col((overview::Entity, overview::Column::Id));
        // On MySQL the filter finds keys that differ in case or accents too; only those asked for are let through.
        let asked: HashMap<&str, &CourseKey> = courses.iter().map(|c| (c.as_str(), c)).collect();
        let runs = custom.runs(&courses);
        let among = Condition::any()
            .add(keys::one_of(self.backend(), id, asked.keys().copied()))
            .add_option(of_custom_courses(self.backend(), &runs));
        use overview::Column::{Id, MarketingUrl, SocialSharingUrl};
        let columns = [Id, MarketingUrl, SocialSharingUrl];
        let mut found = overview::Entity::find().select_only().columns(columns).filter(among);
        for column in self.also.iter().map(|column| column.name()) {
            found = found.column_as(Expr::col((overview::Entity, column)), column);
        }
        let rows = self.db.rows(doing, Batch, &found.into_query()).await?;
        let known = rows.iter().filter_map(|row| self.overview(row, &asked, &runs).transpose());
        known.collect::<Result<_, _>>().map_err(StoreError::doing(doing))
    }

    /// Nothing for a row that nobody asked for.
    fn overview(
        &self,
        row: &QueryResult,
        asked: &HashMap<&str, &CourseKey>,
        runs: &HashSet<RunKey>,
    ) -> Result<Option<Overview>, DbErr> {
        // By place and not by name: this runs some hundred thousand times a second.
        let id: String = row.try_get_by_index(0)?;
        let course = asked.get(id.as_str()).map(|course| (*course).clone());
        let Some(course) = course.or_else(|| custom_course_of(&id, runs)) else { return Ok(None) };
        Ok(Some(Overview {
            course,
            marketing_url: non_empty(row.try_get_by_index(1)?),
            social_sharing_url: non_empty(row.try_get_by_index(2)?),
            also: self.also(row)?,
        }))
    }

    fn also(&self, row: &QueryResult) -> Result<Also, DbErr> {
        let mut also = Also::NOTHING;
        for column in self.also.iter() {
            match column {
                AlsoColumn::EligibleForFinancialAid => {
                    also.eligible_for_financial_aid = row.try_get("", column.name())?;
                }
                AlsoColumn::Language => also.language = row.try_get("", column.name())?,
            }
        }
        Ok(also)
    }

    /// The next overviews, in the order of the database, that what has been seen since `since` does not settle: what a
    /// crawl did not show, and links that came back after a clear. Begin without `after`, go on with the last id of the
    /// answer; at most `limit` rows. The raw id comes along, as an overview's id need not be the key of a course run.
    pub async fn unseen(
        &self,
        since: SeenSince,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let backend = self.backend();
        let run_key = (ledger::Entity, ledger::Column::RunKey);
        let mut query = Query::select();
        query
            .column((overview::Entity, overview::Column::Id))
            .column((overview::Entity, overview::Column::MarketingUrl))
            .from(overview::Entity)
            .left_join(ledger::Entity, Expr::col(run_key).eq(run_of_overview(backend)))
            .cond_where(unsettled(backend, since))
            .order_by((overview::Entity, overview::Column::Id), sea_orm::Order::Asc)
            .limit(limit);
        let id = (overview::Entity, overview::Column::Id);
        query.and_where_option(after.map(|after| Expr::col(id).gt(after)));
        let rows: Vec<(String, Option<String>)> =
            self.db.values("find overviews that the crawl did not show", Table, &query).await?;
        Ok(rows.into_iter().map(|(id, url)| (id, non_empty(url))).collect())
    }

    /// How many overviews have a link and how many have none; reads the whole table.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let linked = "SUM(CASE WHEN COALESCE(marketing_url, '') <> '' THEN 1 ELSE 0 END)";
        let cast = if self.backend() == sea_orm::DbBackend::MySql { "SIGNED" } else { "BIGINT" };
        let counts = overview::Entity::find()
            .select_only()
            .expr_as(Expr::cust(format!("CAST(COALESCE({linked}, 0) AS {cast})")), "linked")
            .expr_as(Expr::cust(format!("CAST(COUNT(*) - COALESCE({linked}, 0) AS {cast})")), "blank")
            .into_query();
        Ok(self.db.one::<Counts>("count overviews", Table, &counts).await?.unwrap_or_default())
    }
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
