//! What can be wrong with the database.

use sea_orm::{ConnectionTrait, TransactionTrait};

use super::{SECRET, checked, one_is_wrong, with_all_well};
use crate::support::databases::{Kind, TestDatabase};

#[tokio::test]
async fn no_database() {
    with_all_well(Kind::Sqlite, async |stage| {
        for scheme in ["postgres", "mysql"] {
            let url = format!("{scheme}://someone:{SECRET}@127.0.0.1:1/lms");
            let settings = [("database.url", url.as_str())];
            one_is_wrong(stage, &settings, "database", &["127.0.0.1:1", "database.url", "refused"]).await;
            // The root cause, once, and not what the pool makes of it.
            let ended = checked(stage, &settings).await;
            assert_eq!(ended.stdout.matches("refused").count(), 1, "{}", ended.stdout);
            assert!(!ended.stdout.contains("timed out"), "{}", ended.stdout);
        }
        let settings = [("database.url", "sqlite:///nowhere/at/all.db")];
        one_is_wrong(stage, &settings, "database", &["/nowhere/at/all.db", "database.url"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_database_of_another_name() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        with_all_well(kind, async |stage| {
            let url = format!("{}_of_another_name", stage.database.url);
            one_is_wrong(stage, &[("database.url", &url)], "database", &["of_another_name"]).await;
        })
        .await;
    }
}

/// A user of MariaDB with a password. PostgreSQL may be set up to trust everybody from here; MariaDB never does so.
async fn with_user(database: &TestDatabase, password: &str) -> String {
    let user = format!("cs{:08x}", rand::random::<u32>());
    database.execute(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'")).await;
    database.execute(&format!("GRANT ALL ON *.* TO '{user}'@'%'")).await;
    user
}

#[tokio::test]
async fn a_wrong_password() {
    with_all_well(Kind::Mysql, async |stage| {
        let user = with_user(&stage.database, "the-right-one").await;
        let mut url = url::Url::parse(&stage.database.url).unwrap();
        url.set_username(&user).unwrap();
        url.set_password(Some(SECRET)).unwrap();
        let ended = checked(stage, &[("database.url", url.as_str())]).await;
        url.set_password(Some("the-right-one")).unwrap();
        let right = checked(stage, &[("database.url", url.as_str())]).await;
        stage.database.execute(&format!("DROP USER '{user}'@'%'")).await;
        ended.expect(1).says(&["FAIL  database", &user, "password"]);
        right.expect(0).keeps_quiet_about("the-right-one");
    })
    .await;
}

#[tokio::test]
async fn a_role_that_is_not_there() {
    with_all_well(Kind::Postgres, async |stage| {
        let mut url = url::Url::parse(&stage.database.url).unwrap();
        url.set_username("nobody_at_all").unwrap();
        url.set_password(Some(SECRET)).unwrap();
        let settings = [("database.url", url.as_str())];
        one_is_wrong(stage, &settings, "database", &["nobody_at_all", "password"]).await;
    })
    .await;
}

#[tokio::test]
async fn no_table_of_the_lms_s_none_of_ours_and_no_column() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::Mysql] {
        with_all_well(kind, async |stage| {
            let table = "course_overviews_courseoverview";
            stage.database.execute("DROP TABLE course_sharing_lease").await;
            one_is_wrong(stage, &[], "database", &["course_sharing_lease", "migrate"]).await;
            stage.database.execute(&format!("ALTER TABLE {table} DROP COLUMN marketing_url")).await;
            one_is_wrong(stage, &[], "database", &[table, "marketing_url", "migrate"]).await;
            stage.database.execute(&format!("DROP TABLE {table}")).await;
            one_is_wrong(stage, &[], "database", &[table, "database.url"]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_table_that_gives_no_answer_is_not_missing() {
    with_all_well(Kind::Postgres, async |stage| {
        let long = stage.database.owner.connection().begin().await.unwrap();
        long.execute_unprepared("LOCK TABLE course_sharing_lease IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let ended = checked(stage, &[]).await.expect(1);
        ended.says(&["FAIL  database", "lock timeout"]);
        assert!(!ended.stdout.contains("missing"), "{}", ended.stdout);
        long.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn another_tenant_s_schema_on_postgresql_is_no_failure() {
    with_all_well(Kind::Postgres, async |stage| {
        stage.database.execute("CREATE SCHEMA tenant").await;
        stage.database.execute("CREATE TABLE tenant.course_overviews_courseoverview (id text)").await;
        checked(stage, &[]).await.expect(0).says(&["ok    database"]);
    })
    .await;
}

#[tokio::test]
async fn the_grants_to_run_name_the_database() {
    for (kind, place) in [(Kind::Postgres, "public".to_owned()), (Kind::Mysql, String::new())] {
        with_all_well(kind, async |stage| {
            let user = stage.database.user.clone().unwrap();
            let (at, name) =
                (if kind == Kind::Mysql { "@'%'" } else { "" }, user.replace("cs_user", "cs_test"));
            stage.database.execute(&format!("REVOKE INSERT ON course_sharing_ledger FROM {user}{at}")).await;
            let place = if kind == Kind::Mysql { &name } else { &place };
            let grant = format!("GRANT INSERT ON {place}.course_sharing_ledger TO ");
            let there = format!("in the database {name}");
            one_is_wrong(stage, &[], "database", &[&grant, &there]).await;
        })
        .await;
    }
}
