//! Lists of keys in a statement: how they are written on each database, how many fit, and which the LMS's table can hold.
//!
//! An LMS of before 2022 has its tables in MySQL's three-byte `utf8`, which ends at U+FFFF: one key beyond that, compared
//! with such a column, is an error of the whole statement.
//!
//! No statement is longer than one TLS record. The driver (sqlx 0.9) does not set `TCP_NODELAY`: what is longer leaves
//! in two pieces, and the second waits some 45 ms for the server to say that it has the first
//! (launchbadge/sqlx#4335, mended and not released). With a release that sets it, [`fitting`] needs no limit of bytes.

use std::borrow::Cow;

use entity::overview;
use sea_orm::sea_query::extension::postgres::PgFunc;
use sea_orm::sea_query::{ArrayType, Expr, ExprTrait, Value};
use sea_orm::{DbBackend, EntityName, Statement};

use super::timeout::Limit;
use super::{MAX_ROWS, Store, StoreError};
use crate::model::course_key::CourseKey;

/// Of 16,384 in a record; the rest is for the statement's own words, and for what encryption adds.
const MAX_BYTES: usize = 14_000;
/// What a key takes besides its own bytes: its place in the text, and its length and type among the parameters.
const AROUND: usize = 10;

/// Cuts `items` into stretches for one statement each: at most [`MAX_ROWS`] of them, and few enough that their
/// `bytes` fit into a TLS record; one item at least.
pub(super) fn fitting<T>(items: &[T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = rest.iter().take(MAX_ROWS).take_while(|item| {
            sum += bytes(item);
            sum <= MAX_BYTES
        });
        let count = fits.count().max(1).min(rest.len());
        let (stretch, after) = rest.split_at(count);
        rest = after;
        (!stretch.is_empty()).then_some(stretch)
    })
}

/// The bytes of a key in a statement.
pub(super) fn key_bytes(key: &str) -> usize {
    key.len() + AROUND
}

/// The bytes of a course in a statement that names it in so many lists: as an overview, as a run.
pub(super) fn course_bytes(lists: usize) -> impl Fn(&CourseKey) -> usize {
    move |course| lists * key_bytes(course.as_str())
}

/// Whether `column` is one of these keys. On PostgreSQL they are one parameter, so that a statement reads the same
/// for any number of them, and is prepared once.
pub(super) fn one_of<'a>(backend: DbBackend, column: Expr, keys: impl IntoIterator<Item = &'a str>) -> Expr {
    if backend == DbBackend::Postgres {
        column.eq(PgFunc::any(Expr::val(array(keys.into_iter().map(str::to_owned)))))
    } else {
        column.is_in(keys)
    }
}

/// Texts as one parameter; PostgreSQL alone has such.
pub(super) fn array(texts: impl Iterator<Item = String>) -> Value {
    Value::Array(ArrayType::String, Some(Box::new(texts.map(Value::from).collect())))
}

impl Store {
    /// Those of these courses that the overviews can hold; the others have no row, and no statement is to name them.
    /// The table is asked only where there is such a key, so that its conversion needs no restart.
    pub(super) async fn that_overviews_hold<'c>(
        &self,
        courses: &'c [CourseKey],
    ) -> Result<Cow<'c, [CourseKey]>, StoreError> {
        if self.backend() != DbBackend::MySql || !courses.iter().any(is_beyond_the_plane) {
            return Ok(Cow::Borrowed(courses));
        }
        // CAST, as the type of this column differs between servers.
        let sql = "SELECT CAST(CHARACTER_SET_NAME AS CHAR) FROM information_schema.COLUMNS \
                   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = 'id'";
        let table = overview::Entity.table_name();
        let question = Statement::from_sql_and_values(DbBackend::MySql, sql, [table.into()]);
        let found: Vec<Option<String>> =
            self.db.values("read the character set of overviews", Limit::Batch, question).await?;
        let charset = found.into_iter().flatten().next().unwrap_or_default();
        if !matches!(charset.as_str(), "utf8" | "utf8mb3" | "ucs2") {
            return Ok(Cow::Borrowed(courses));
        }
        Ok(courses.iter().filter(|course| !is_beyond_the_plane(course)).cloned().collect())
    }
}

/// Whether a key has a character beyond U+FFFF: in UTF-8 those begin with 0xF0 or more, and no other byte is as large.
fn is_beyond_the_plane(course: &CourseKey) -> bool {
    course.as_str().bytes().any(|byte| byte >= 0xf0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stretches_hold_every_item_once_in_order_and_keep_to_both_limits(
            sizes in proptest::collection::vec(0_usize..20_000, 0..40), small in 0_usize..1200,
        ) {
            let items: Vec<usize> = sizes.into_iter().chain(std::iter::repeat_n(12, small)).collect();
            let stretches: Vec<&[usize]> = fitting(&items, |bytes| *bytes).collect();
            prop_assert_eq!(stretches.concat(), items.clone());
            for stretch in &stretches {
                prop_assert!(!stretch.is_empty() && stretch.len() <= MAX_ROWS);
                prop_assert!(stretch.len() == 1 || stretch.iter().sum::<usize>() <= MAX_BYTES);
            }
            // As many as fit: no two neighbours would go together.
            for pair in stretches.windows(2) {
                let both = pair[0].len() == MAX_ROWS || pair[0].iter().sum::<usize>() + pair[1][0] > MAX_BYTES;
                prop_assert!(both);
            }
        }
    }

    #[test]
    fn on_postgresql_the_text_is_the_same_for_any_number_of_keys() {
        let text = |backend: DbBackend, keys: &[&str]| {
            let mut select = sea_orm::sea_query::Query::select();
            select.from("t").cond_where(one_of(backend, Expr::col("k"), keys.iter().copied()));
            backend.build(&select).sql
        };
        assert_eq!(text(DbBackend::Postgres, &["a"]), text(DbBackend::Postgres, &["a", "b"]));
        assert_ne!(text(DbBackend::MySql, &["a"]), text(DbBackend::MySql, &["a", "b"]));
    }
    #[test]
    fn only_what_is_beyond_the_first_plane_does_not_fit() {
        for (key, beyond) in [
            ("course-v1:a+b+c", false),
            ("course-v1:École+学校+\u{ffdc}", false),
            ("course-v1:𝒳+b+c", true),
            ("course-v1:a+b+\u{10000}", true),
        ] {
            assert_eq!(is_beyond_the_plane(&CourseKey::parse(key).unwrap()), beyond, "{key}");
        }
    }
}
