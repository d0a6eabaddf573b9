//! Keys that the LMS's table cannot hold. An LMS of before 2022 has its tables in MySQL's three-byte `utf8`, which ends
//! at U+FFFF: one key beyond that, compared with such a column, is an error of the whole statement.

use std::borrow::Cow;

use entity::overview;
use sea_orm::{DbBackend, EntityName, Statement};

use super::timeout::Limit;
use super::{Store, StoreError};
use crate::model::course_key::CourseKey;

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
            self.db.values_of("read the character set of overviews", Limit::Batch, question).await?;
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
