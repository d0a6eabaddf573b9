//! What MySQL and MariaDB have in their catalogs. `information_schema.COLUMNS` says of every column what the user may,
//! by roles and by rights on databases too; the others say the rest, and only of the user itself.

use std::collections::BTreeMap;

use sea_orm::{DbErr, Statement};

use super::super::{Store, StoreError};
use super::{ALL, DOING, Held, On, User};

/// Whoever has so many rights on a whole server or database has nearly all of them.
const NEARLY_ALL: usize = 12;
/// A table with more columns than this, all of which the user may, was granted as a whole.
const COLUMNS: usize = 6;

impl Store {
    pub(super) async fn mysql_rights(&self, user: &User) -> Result<Vec<Held>, StoreError> {
        let (grantee, here) = (user.name.as_str(), user.database.as_str());
        let at_large = "SELECT '*' AS place, CAST(PRIVILEGE_TYPE AS CHAR) AS held FROM information_schema.USER_PRIVILEGES \
                        WHERE GRANTEE = ? AND PRIVILEGE_TYPE <> 'USAGE' \
                        UNION ALL SELECT CAST(TABLE_SCHEMA AS CHAR), CAST(PRIVILEGE_TYPE AS CHAR) \
                        FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = ?";
        let rows: Vec<(String, String)> = self.of(at_large, [grantee, grantee], ["place", "held"]).await?;
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (place, right) in rows {
            places.entry(format!("{place}.*")).or_default().push(right);
        }
        let broad = !places.is_empty();
        let mut held: Vec<Held> =
            places.into_iter().flat_map(|(place, rights)| whole(place, rights)).collect();
        // With rights on all tables, nothing more need be said of each, and it would be every table of the LMS's.
        if !broad {
            held.extend(self.on_columns(here).await?);
        }
        held.extend(self.on_tables(grantee, here).await?);
        Ok(held)
    }

    async fn on_columns(&self, here: &str) -> Result<Vec<Held>, StoreError> {
        let sql = "SELECT CAST(CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS CHAR) AS place, \
                   CAST(CONCAT(PRIVILEGES, ' ', COLUMN_NAME) AS CHAR) AS held FROM information_schema.COLUMNS \
                   WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'sys') AND PRIVILEGES <> ? \
                   AND PRIVILEGES <> ?";
        let rows: Vec<(String, String)> = self.of(sql, ["", " "], ["place", "held"]).await?;
        let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for (table, held) in rows {
            if let Some((rights, column)) = held.split_once(' ') {
                tables.entry(table).or_default().push((rights.to_ascii_uppercase(), column.to_owned()));
            }
        }
        Ok(tables.into_iter().flat_map(|(table, columns)| of_table(&table, here, &columns)).collect())
    }

    /// The rights that no column has.
    async fn on_tables(&self, grantee: &str, here: &str) -> Result<Vec<Held>, StoreError> {
        let sql = "SELECT CAST(CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS CHAR) AS place, CAST(PRIVILEGE_TYPE AS CHAR) AS held \
                   FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = ? AND PRIVILEGE_TYPE <> ? \
                   AND PRIVILEGE_TYPE NOT IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')";
        let rows: Vec<(String, String)> = self.of(sql, [grantee, "USAGE"], ["place", "held"]).await?;
        let held =
            |(place, right): (String, String)| Held { right, on: on(&place, here), columns: Vec::new() };
        Ok(rows.into_iter().map(held).collect())
    }

    async fn of(
        &self,
        sql: &str,
        values: [&str; 2],
        names: [&str; 2],
    ) -> Result<Vec<(String, String)>, StoreError> {
        let statement = Statement::from_sql_and_values(self.backend(), sql, values.map(Into::into));
        let rows = self.look(statement).await?;
        let pair = |row: &sea_orm::QueryResult| -> Result<_, DbErr> {
            Ok((row.try_get("", names[0])?, row.try_get("", names[1])?))
        };
        rows.iter().map(pair).collect::<Result<_, _>>().map_err(StoreError::doing(DOING))
    }
}

/// Rights on everything in one place.
fn whole(place: String, rights: Vec<String>) -> Vec<Held> {
    let rights = if rights.len() > NEARLY_ALL { vec![format!("{ALL}, or nearly,")] } else { rights };
    let held = |right| Held { right, on: On::Elsewhere(place.clone()), columns: Vec::new() };
    rights.into_iter().map(held).collect()
}

/// `columns`: of each column that the user may do anything with, its rights and its name.
fn of_table(table: &str, here: &str, columns: &[(String, String)]) -> Vec<Held> {
    let held = |right: &str| {
        let with = columns.iter().filter(|(rights, _)| rights.split(',').any(|held| held == right));
        let with: Vec<String> = with.map(|(_, column)| column.clone()).collect();
        let all = with.len() == columns.len() && with.len() > COLUMNS;
        (!with.is_empty()).then(|| Held {
            right: right.to_owned(),
            on: on(table, here),
            columns: if all { Vec::new() } else { with },
        })
    };
    ["SELECT", "INSERT", "UPDATE", "REFERENCES"].into_iter().filter_map(held).collect()
}

fn on(place: &str, here: &str) -> On {
    match place.strip_prefix(here).and_then(|rest| rest.strip_prefix('.')) {
        Some(table) => On::Table(table.to_owned()),
        None => On::Elsewhere(place.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_on_all_of_many_columns_are_rights_on_the_table() {
        let columns = |n: usize| -> Vec<(String, String)> {
            (0..n).map(|n| ("SELECT,UPDATE".to_owned(), format!("c{n}"))).collect()
        };
        let many = of_table("lms.t", "lms", &columns(40));
        assert_eq!(many.len(), 2);
        assert!(many.iter().all(|held| held.columns.is_empty() && held.on == On::Table("t".to_owned())));
        let mut some = columns(40);
        some[0].0 = "SELECT".to_owned();
        let some = of_table("lms.t", "lms", &some);
        assert_eq!(some.iter().map(|held| held.columns.len()).collect::<Vec<_>>(), [0, 39]);
        assert_eq!(of_table("other.t", "lms", &columns(1))[0].on, On::Elsewhere("other.t".to_owned()));
    }
}
