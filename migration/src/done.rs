//! What a statement of ours makes or drops, so that one that has been carried out is not sent again: a migration that was
//! killed between two statements goes on where it stood. MySQL and SQLite commit each of them by itself.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbErr;

use crate::steps::{LEDGER, SEEN};

/// What a statement makes or drops in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object<'a> {
    Table,
    Column(&'a str),
    Index(&'a str),
}

/// Whether the database is as it is after this statement.
pub(crate) async fn is_done(manager: &SchemaManager<'_>, sql: &str) -> Result<bool, DbErr> {
    let Some((table, object, is_made)) = effect(sql) else { return Ok(false) };
    let has_table = manager.has_table(table).await?;
    let is_there = match object {
        Object::Table => has_table,
        // A table that is missing is made by an earlier statement; there is nothing to look for on it.
        _ if !has_table => return Ok(false),
        Object::Column(column) => manager.has_column(table, column).await?,
        Object::Index(index) => manager.has_index(table, index).await?,
    };
    Ok(is_there == is_made)
}

/// The table, what the statement makes or drops in it, and which of the two; by the words that a statement of the query
/// builder begins with.
fn effect(sql: &str) -> Option<(&str, Object<'_>, bool)> {
    let names = sql.split([' ', '(', '"', '`']).filter(|word| !word.is_empty());
    let words: Vec<&str> =
        names.filter(|word| !["IF", "NOT", "EXISTS", "UNIQUE"].contains(word)).take(7).collect();
    Some(match words[..] {
        ["CREATE", "TABLE", table, ..] => (table, Object::Table, true),
        ["DROP", "TABLE", table, ..] => (table, Object::Table, false),
        ["CREATE", "INDEX", index, "ON", table, ..] => (table, Object::Index(index), true),
        ["ALTER", "TABLE", table, "ADD", "COLUMN", column, ..] => (table, Object::Column(column), true),
        ["ALTER", "TABLE", table, "DROP", "COLUMN", column, ..] => (table, Object::Column(column), false),
        // The table is filled in from a column that is dropped next.
        _ if sql == SEEN => (LEDGER, Object::Column("block"), false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::sea_orm::DbBackend;

    use super::*;
    use crate::steps::STEPS;

    #[test]
    fn the_effect_of_every_statement_of_ours_is_known() {
        for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
            for step in STEPS {
                for sql in (step.up)(backend).iter().chain(&step.down(backend)) {
                    assert!(effect(sql).is_some(), "{sql}");
                }
            }
        }
    }

    #[test]
    fn names_are_read_whatever_their_quotes() {
        for sql in ["ALTER TABLE `t` ADD COLUMN `c` bigint NULL", "ALTER TABLE \"t\" ADD COLUMN \"c\" bigint"]
        {
            assert_eq!(effect(sql), Some(("t", Object::Column("c"), true)));
        }
        assert_eq!(
            effect("CREATE UNIQUE INDEX IF NOT EXISTS `i` ON `t` (`a`)"),
            Some(("t", Object::Index("i"), true))
        );
        assert_eq!(effect("CREATE TABLE IF NOT EXISTS t(a int)"), Some(("t", Object::Table, true)));
        assert_eq!(effect("DELETE FROM t"), None);
        assert_eq!(effect("UPDATE course_sharing_ledger SET listed = TRUE"), None);
    }
}
