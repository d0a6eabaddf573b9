//! Tries out what the user may do, by statements that touch no row. The server checks rights, and whether it only
//! reads, before it looks for rows.

use std::collections::HashMap;

use sea_orm::{DbBackend, Statement};

use super::super::refusal::Refusal;
use super::super::{Store, StoreError};
use super::{DOING, Need};
use crate::telemetry::report;

/// What is missing, and why the server refuses to write whatever the rights.
type Found = (Vec<Need>, Option<String>);

enum Tried {
    Well,
    Denied,
    /// The server only reads, or is full.
    Refused(String),
}

impl Store {
    /// Tries each of these. What is not there at all counts as no lack: that is for the schema's check to say.
    pub(super) async fn try_out(&self, needs: &[Need]) -> Result<Found, StoreError> {
        let columns = self.columns_of(needs).await?;
        let (mut missing, mut refused) = (Vec::new(), None);
        for need in needs {
            let whole: Vec<&str> = match need.columns.as_slice() {
                [] => columns.get(&need.table).map(String::as_str).into_iter().collect(),
                columns => columns.iter().map(String::as_str).collect(),
            };
            match self.try_one(need, &whole).await? {
                Tried::Well => {}
                Tried::Refused(why) => refused = Some(why),
                Tried::Denied if need.columns.is_empty() => missing.push(need.clone()),
                Tried::Denied => {
                    let mut lacking = Vec::new();
                    for column in &need.columns {
                        if matches!(self.try_one(need, &[column]).await?, Tried::Denied) {
                            lacking.push(column.clone());
                        }
                    }
                    missing.push(Need { columns: lacking, ..need.clone() });
                }
            }
        }
        Ok((missing, refused))
    }

    async fn try_one(&self, need: &Need, columns: &[&str]) -> Result<Tried, StoreError> {
        let Some(sql) = sql(self.backend(), need, columns) else { return Ok(Tried::Well) };
        let Err(error) = self.touch(&sql).await else { return Ok(Tried::Well) };
        match error.refusal() {
            Some(Refusal::Right) => Ok(Tried::Denied),
            Some(_) => Ok(Tried::Refused(report(&error))),
            None if error.is_reported() => Ok(Tried::Well),
            None => Err(error),
        }
    }

    /// One column of each of the tables of ours, as INSERT and UPDATE have to name one.
    async fn columns_of(&self, needs: &[Need]) -> Result<HashMap<String, String>, StoreError> {
        let tables = needs.iter().filter(|need| need.columns.is_empty()).map(|need| need.table.as_str());
        // They are names that this program knows.
        let names = tables.map(|table| format!("'{table}'")).collect::<Vec<_>>().join(", ");
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = match self.backend() {
            DbBackend::MySql => format!(
                "SELECT CAST(TABLE_NAME AS CHAR) AS t, CAST(MIN(COLUMN_NAME) AS CHAR) AS c FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({names}) GROUP BY TABLE_NAME"
            ),
            DbBackend::Postgres => format!(
                "SELECT c.relname::text AS t, MIN(a.attname)::text AS c FROM pg_class c \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 WHERE c.relname IN ({names}) AND pg_table_is_visible(c.oid) GROUP BY c.relname"
            ),
            _ => format!(
                "SELECT m.name AS t, MIN(p.name) AS c FROM sqlite_master m JOIN pragma_table_info(m.name) p \
                 WHERE m.name IN ({names}) GROUP BY m.name"
            ),
        };
        let rows = self.look(Statement::from_string(self.backend(), sql)).await?;
        let pairs = rows.iter().map(|row| Ok((row.try_get("", "t")?, row.try_get("", "c")?)));
        pairs.collect::<Result<_, _>>().map_err(StoreError::doing(DOING))
    }
}

/// A statement that needs this right and no other. None: the right is tried out by what needs it.
fn sql(backend: DbBackend, need: &Need, columns: &[&str]) -> Option<String> {
    let table = &need.table;
    let first = columns.first();
    Some(match need.right {
        "SELECT" if need.columns.is_empty() => format!("SELECT * FROM {table} WHERE 1 = 0"),
        "SELECT" => format!("SELECT {} FROM {table} WHERE 1 = 0", columns.join(", ")),
        "UPDATE" => {
            first?;
            let set: Vec<String> = columns.iter().map(|column| format!("{column} = NULL")).collect();
            format!("UPDATE {table} SET {} WHERE 1 = 0", set.join(", "))
        }
        "INSERT" => {
            let from = if backend == DbBackend::MySql { " FROM DUAL" } else { "" };
            format!("INSERT INTO {table} ({}) SELECT NULL{from} WHERE 1 = 0", first?)
        }
        "DELETE" => format!("DELETE FROM {table} WHERE 1 = 0"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Needs;
    use super::*;

    #[test]
    fn every_need_has_a_statement_that_touches_no_row() {
        for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
            for need in Needs::default().list() {
                let columns: Vec<&str> = need.columns.iter().map(String::as_str).collect();
                let columns = if columns.is_empty() { vec!["some"] } else { columns };
                let sql = sql(backend, need, &columns).unwrap();
                assert!(sql.starts_with(need.right) && sql.ends_with(" WHERE 1 = 0"), "{sql}");
            }
        }
    }
}
