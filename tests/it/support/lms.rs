//! The LMS beside the program: a user of its own, with rights on its own table and none on ours.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr};
use test_support::database::{TABLE, not_null_columns};

use super::databases::{Kind, TestDatabase};
use super::grants::PASSWORD;

pub(crate) struct Lms {
    kind: Kind,
    db: DatabaseConnection,
    user: String,
    /// What a row wants besides id and link.
    rest: Vec<(&'static str, &'static str)>,
}

impl Lms {
    pub(crate) async fn of(database: &TestDatabase) -> Self {
        let user = format!("cs_lms_{:08x}", rand::random::<u32>());
        let rights = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO {user}");
        let statements = match database.kind {
            Kind::Sqlite => vec![],
            Kind::Postgres => vec![
                format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'"),
                format!("GRANT CONNECT ON DATABASE {} TO {user}", database.name),
                format!("GRANT USAGE ON SCHEMA public TO {user}"),
                rights,
            ],
            Kind::Mysql => vec![format!("CREATE USER {user} IDENTIFIED BY '{PASSWORD}'"), rights],
        };
        for sql in &statements {
            database.execute(sql).await;
        }
        let url = match database.kind {
            Kind::Sqlite => database.owner_url.clone(),
            _ => database.url_of(&user, PASSWORD),
        };
        let rest = not_null_columns(database.kind);
        Self { kind: database.kind, db: Database::connect(url).await.unwrap(), user, rest }
    }

    /// Inserts an overview with this link, as Django does; every column has its value.
    pub(crate) async fn insert(&self, id: &str, link: Option<&str>) -> Result<(), DbErr> {
        let columns: String = self.rest.iter().map(|(column, _)| format!(", {column}")).collect();
        let values: String = self.rest.iter().map(|(_, value)| format!(", {value}")).collect();
        let sql = format!(
            "INSERT INTO {TABLE} (id, marketing_url{columns}) VALUES ('{id}', {}{values})",
            literal(link)
        );
        self.one_row(&sql).await
    }

    /// Saves every column of an overview, the link as it was read some time ago.
    pub(crate) async fn save(&self, id: &str, link: Option<&str>) -> Result<(), DbErr> {
        let rest: String = self.rest.iter().map(|(column, value)| format!(", {column} = {value}")).collect();
        let sql = format!(
            "UPDATE {TABLE} SET marketing_url = {}{rest} WHERE {}id = '{id}'",
            literal(link),
            self.binary()
        );
        self.one_row(&sql).await
    }

    /// Saves another column.
    pub(crate) async fn touch(&self, id: &str) -> Result<(), DbErr> {
        let set = "social_sharing_url = 'https://social.example/'";
        self.one_row(&format!("UPDATE {TABLE} SET {set} WHERE {}id = '{id}'", self.binary())).await
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), DbErr> {
        self.one_row(&format!("DELETE FROM {TABLE} WHERE {}id = '{id}'", self.binary())).await
    }

    /// Closes its connections and removes its user.
    pub(crate) async fn leave(self, database: &TestDatabase) {
        self.db.close().await.unwrap();
        if self.kind == Kind::Postgres {
            database.execute(&format!("DROP OWNED BY {}", self.user)).await;
        }
        if self.kind != Kind::Sqlite {
            database.execute(&format!("DROP USER {}", self.user)).await;
        }
    }

    async fn one_row(&self, sql: &str) -> Result<(), DbErr> {
        let done = self.db.execute_unprepared(sql).await?;
        assert_eq!(done.rows_affected(), 1, "{sql}");
        Ok(())
    }

    fn binary(&self) -> &'static str {
        if self.kind == Kind::Mysql { "BINARY " } else { "" }
    }
}

fn literal(link: Option<&str>) -> String {
    link.map_or("NULL".to_owned(), |link| format!("'{link}'"))
}
