//! MySQL and MariaDB are asked by SHOW GRANTS, which any user may.

use sea_orm::{ConnectionTrait, Statement};

use super::super::limit::within;
use super::super::{Store, StoreError};
use super::{Held, grants};

impl Store {
    /// The user, as a GRANT names it, and what it may do. The rights of roles count where they are active.
    pub(super) async fn mysql_rights(&self) -> Result<(String, Vec<Held>), StoreError> {
        let doing = "tell what the user may do";
        // Without FOR, both databases add the rights of the roles that are active.
        let asked = self.db.query_all_raw(Statement::from_string(self.backend(), "SHOW GRANTS"));
        let rows = within(doing, asked).await?;
        let lines: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get_by_index(0)).collect();
        let lines = lines.map_err(StoreError::doing(doing))?;
        let sql = "SELECT CAST(CURRENT_USER() AS CHAR) AS name, CAST(DATABASE() AS CHAR) AS base";
        let row = within(doing, self.db.query_one_raw(Statement::from_string(self.backend(), sql))).await?;
        let row = row.map(|row| Ok((row.try_get::<String>("", "name")?, row.try_get::<String>("", "base")?)));
        let (user, schema) = row.transpose().map_err(StoreError::doing(doing))?.unwrap_or_default();
        let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
        Ok((format!("'{name}'@'{host}'"), grants::read(lines.iter().map(String::as_str), &schema)))
    }
}
