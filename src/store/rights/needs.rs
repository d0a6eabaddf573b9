//! What the program's user has to be allowed, once the tables are there. `migrate` itself needs more.

use std::fmt;

use entity::{blank, change, dead_letter, failure, hint, lease, ledger, overview, pass};
use sea_orm::{DbBackend, EntityName, EntityTrait, IdenStatic, Iterable};

use crate::config::{Config, PageSize};

const WRITE: [&str; 3] = ["SELECT", "INSERT", "UPDATE"];
/// For what is pruned, discarded or forgotten.
const DELETE: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
/// For what is noted once, and pruned.
const NOTE: [&str; 3] = ["SELECT", "INSERT", "DELETE"];

/// One right on one table, or on some of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// In capitals, as in GRANT.
    pub(super) right: &'static str,
    /// The table; or, for USAGE, `SCHEMA` and its name.
    pub(super) table: String,
    /// Those columns; of a whole table its first one.
    pub(super) columns: Vec<&'static str>,
    /// Whether it is on the whole table.
    pub(super) whole: bool,
}

/// Everything that the program needs under this configuration.
pub(crate) fn needs(config: &Config) -> Vec<Need> {
    let lms = overview::Entity.table_name();
    let extra: Vec<&str> = config.sync.also.iter().map(|column| column.name()).collect();
    let read: Vec<&str> = overview::Column::iter().map(|column| column.as_str()).collect();
    let mut needs = vec![
        Need::of("SELECT", lms, [read, extra.clone()].concat()),
        Need::of("UPDATE", lms, [vec![overview::Column::MarketingUrl.as_str()], extra].concat()),
    ];
    if matches!(config.reconcile.page_size, PageSize::Lms) {
        needs.push(Need::of("SELECT", "catalog_catalogintegration", vec!["id", "page_size"]));
    }
    needs.push(Need { whole: true, ..Need::of("SELECT", migration::MEMORY, vec!["version"]) });
    needs.extend(on_table::<blank::Entity>(&DELETE));
    needs.extend(on_table::<change::Entity>(&NOTE));
    needs.extend(on_table::<dead_letter::Entity>(&DELETE));
    needs.extend(on_table::<failure::Entity>(&DELETE));
    needs.extend(on_table::<hint::Entity>(&WRITE));
    needs.extend(on_table::<lease::Entity>(&WRITE));
    needs.extend(on_table::<ledger::Entity>(&DELETE));
    needs.extend(on_table::<pass::Entity>(&DELETE));
    needs
}

/// These rights on a table of ours.
fn on_table<E: EntityTrait>(rights: &[&'static str]) -> impl Iterator<Item = Need> {
    let first = E::Column::iter().take(1).map(|column| column.as_str()).collect::<Vec<_>>();
    let need = move |right: &&'static str| Need {
        whole: true,
        ..Need::of(right, E::default().table_name(), first.clone())
    };
    rights.iter().map(need)
}

impl Need {
    fn of(right: &'static str, table: &str, columns: Vec<&'static str>) -> Self {
        Self { right, table: table.to_owned(), columns, whole: false }
    }

    /// The right to look into a schema of PostgreSQL's.
    pub(super) fn usage(schema: &str) -> Self {
        Self { whole: true, ..Self::of("USAGE", &format!("SCHEMA {schema}"), Vec::new()) }
    }

    /// As GRANT has it before ON: `SELECT (id, marketing_url)`.
    pub(super) fn what(&self) -> String {
        if self.whole {
            self.right.to_owned()
        } else {
            format!("{} ({})", self.right, self.columns.join(", "))
        }
    }

    /// A statement that needs this right on these columns and no other, and touches no row.
    pub(super) fn probe(&self, backend: DbBackend, columns: &[&str]) -> String {
        let Self { right, table, whole, .. } = self;
        let listed = columns.join(", ");
        let from_dual = if backend == DbBackend::MySql { " FROM DUAL" } else { "" };
        let statement = match *right {
            "INSERT" => format!("INSERT INTO {table} ({listed}) SELECT NULL{from_dual}"),
            "UPDATE" => format!("UPDATE {table} SET {} = NULL", columns.join(" = NULL, ")),
            "DELETE" => format!("DELETE FROM {table}"),
            _ => format!("SELECT {} FROM {table}", if *whole { "*" } else { &listed }),
        };
        format!("{statement} WHERE 1 = 0")
    }
}

/// As GRANT has it: `SELECT (id, marketing_url) ON course_overviews_courseoverview`.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ON {}", self.what(), self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_has_a_statement_that_touches_no_row() {
        for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
            for need in needs(&Config::default()) {
                let sql = need.probe(backend, &need.columns);
                assert!(sql.starts_with(need.right) && sql.ends_with(" WHERE 1 = 0"), "{sql}");
            }
        }
    }

    #[test]
    fn every_table_of_ours_is_needed() {
        let needs = needs(&Config::default());
        for table in migration::tables() {
            assert!(needs.iter().any(|need| need.table == table), "{table}");
        }
    }
}
