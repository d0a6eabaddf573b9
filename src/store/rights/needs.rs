//! What the program's user has to be allowed, once the tables are there. `migrate` itself needs more.

use std::fmt;

use entity::{blank, dead_letter, failure, ledger, overview, pass};
use sea_orm::{EntityName, IdenStatic, Iterable};

use crate::config::{Config, PageSize};

/// One right on one table, or on some of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// In capitals, as in GRANT.
    pub right: &'static str,
    /// The table; or, for USAGE, `SCHEMA` and its name.
    pub table: String,
    /// None: all of the table.
    pub columns: Vec<String>,
}

impl Need {
    /// As GRANT has it before ON: `SELECT (id, marketing_url)`.
    pub(super) fn what(&self) -> String {
        match self.columns.as_slice() {
            [] => self.right.to_owned(),
            columns => format!("{} ({})", self.right, columns.join(", ")),
        }
    }
}

/// As GRANT has it: `SELECT (id, marketing_url) ON course_overviews_courseoverview`.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ON {}", self.what(), self.table)
    }
}

/// Everything that the program needs.
#[derive(Debug, Clone)]
pub struct Needs(Vec<Need>);

impl Default for Needs {
    /// What it needs whatever its configuration: three columns of the LMS's table, one of them to write, and our own
    /// tables.
    fn default() -> Self {
        let columns: Vec<&str> = overview::Column::iter().map(|column| column.as_str()).collect();
        let lms = overview::Entity.table_name();
        let mut needs = Self(Vec::new()).and("SELECT", lms, &columns).and(
            "UPDATE",
            lms,
            &[overview::Column::MarketingUrl.as_str()],
        );
        for table in migration::tables() {
            for right in ["SELECT", "INSERT", "UPDATE"] {
                needs = needs.and(right, table, &[]);
            }
        }
        // What is linked again, or answered again, is forgotten, dead letters are discarded, and old runs and passes are
        // pruned; nothing else is ever deleted.
        needs
            .and("DELETE", blank::Entity.table_name(), &[])
            .and("DELETE", dead_letter::Entity.table_name(), &[])
            .and("DELETE", failure::Entity.table_name(), &[])
            .and("DELETE", ledger::Entity.table_name(), &[])
            .and("DELETE", pass::Entity.table_name(), &[])
            .and("SELECT", migration::MEMORY, &[])
    }
}

impl Needs {
    /// What it needs under this configuration.
    pub fn under(config: &Config) -> Self {
        let also: Vec<&str> = config.sync.also.iter().map(|column| column.name()).collect();
        let needs = Self::default().also(&also);
        match config.reconcile.page_size {
            PageSize::Lms => needs.and("SELECT", "catalog_catalogintegration", &["id", "page_size"]),
            PageSize::Auto | PageSize::Fixed(_) => needs,
        }
    }

    /// With these columns of the LMS's table, to read and to write.
    #[must_use]
    pub fn also(self, columns: &[&str]) -> Self {
        if columns.is_empty() {
            return self;
        }
        let lms = overview::Entity.table_name();
        self.and("SELECT", lms, columns).and("UPDATE", lms, columns)
    }

    /// With one more; without columns it is on the whole table.
    #[must_use]
    pub fn and(mut self, right: &'static str, table: &str, columns: &[&str]) -> Self {
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        // One need for each right on a table, so that the verdict finds all of its columns in one place.
        match self.0.iter_mut().find(|need| need.right == right && need.table == table) {
            Some(need) => need.columns.extend(columns),
            None => self.0.push(Need { right, table: table.to_owned(), columns }),
        }
        self
    }

    pub(super) fn list(&self) -> &[Need] {
        &self.0
    }
}
