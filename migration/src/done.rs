//! What a statement of ours makes or drops, so that one that has been carried out is not sent again: a migration that was
//! killed between two statements goes on where it stood. MySQL and SQLite commit each of them by itself.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbErr;

/// What there is after a statement, or is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Effect {
    Table(String),
    Column(String, String),
    Index(String, String),
    NoTable(String),
    NoColumn(String, String),
}

/// Whether the database is as it is after this statement.
pub(crate) async fn is_done(manager: &SchemaManager<'_>, sql: &str) -> Result<bool, DbErr> {
    match effect(sql) {
        Some(Effect::Table(table)) => manager.has_table(table).await,
        Some(Effect::NoTable(table)) => Ok(!manager.has_table(table).await?),
        // A table that is missing is to be made by an earlier statement; there is nothing to look for on it.
        Some(Effect::Column(table, column)) => {
            Ok(manager.has_table(&table).await? && manager.has_column(table, column).await?)
        }
        // Likewise, a table that is missing is made, with the column, by an earlier statement.
        Some(Effect::NoColumn(table, column)) => {
            Ok(manager.has_table(&table).await? && !manager.has_column(table, column).await?)
        }
        Some(Effect::Index(table, index)) => {
            Ok(manager.has_table(&table).await? && manager.has_index(table, index).await?)
        }
        None => Ok(false),
    }
}

/// By the words that a statement of the query builder begins with.
fn effect(sql: &str) -> Option<Effect> {
    let names = sql.split([' ', '(', '"', '`']).filter(|word| !word.is_empty());
    let words: Vec<&str> =
        names.filter(|word| !["IF", "NOT", "EXISTS", "UNIQUE"].contains(word)).take(7).collect();
    let own = |name: &str| name.to_owned();
    match words.as_slice() {
        ["CREATE", "TABLE", table, ..] => Some(Effect::Table(own(table))),
        ["DROP", "TABLE", table, ..] => Some(Effect::NoTable(own(table))),
        ["CREATE", "INDEX", index, "ON", table, ..] => Some(Effect::Index(own(table), own(index))),
        ["ALTER", "TABLE", table, "ADD", "COLUMN", column, ..] => {
            Some(Effect::Column(own(table), own(column)))
        }
        // Step 7 fills the ledger in from a column that it drops next.
        ["UPDATE", table @ "course_sharing_ledger", ..] => Some(Effect::NoColumn(own(table), own("block"))),
        ["ALTER", "TABLE", table, "DROP", "COLUMN", column, ..] => {
            Some(Effect::NoColumn(own(table), own(column)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::sea_orm::DbBackend;

    use super::*;

    #[test]
    fn the_effect_of_every_statement_of_ours_is_known() {
        for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
            for step in crate::all() {
                for sql in (step.up)(backend).iter().chain(&(step.down)(backend)) {
                    assert!(effect(sql).is_some(), "{sql}");
                }
            }
        }
    }

    #[test]
    fn names_are_read_whatever_their_quotes() {
        for sql in ["ALTER TABLE `t` ADD COLUMN `c` bigint NULL", "ALTER TABLE \"t\" ADD COLUMN \"c\" bigint"]
        {
            assert_eq!(effect(sql), Some(Effect::Column("t".to_owned(), "c".to_owned())));
        }
        assert_eq!(
            effect("CREATE UNIQUE INDEX IF NOT EXISTS `i` ON `t` (`a`)"),
            Some(Effect::Index("t".to_owned(), "i".to_owned()))
        );
        assert_eq!(effect("CREATE TABLE IF NOT EXISTS t(a int)"), Some(Effect::Table("t".to_owned())));
        assert_eq!(effect("DELETE FROM t"), None);
    }
}
