//! A database that an earlier release has filled: after `migrate` everything is there, and the program goes on with it.

use chrono::{DateTime, Utc};
use entity::{blank, dead_letter, failure, lease, ledger, pass};
use migration::{Direction, Migrator, MigratorTrait};
use sea_orm::{EntityTrait, QueryOrder};

use super::{RUN, URL};
use crate::support::databases::{KINDS, Kind, TestDatabase};

/// The migrations of the release that made the tables.
const RELEASED: u32 = 6;
const LEDGER: &str = "run_key, marketing_url, listed, pending_clear_since, cleared_at, changed_at, held_by, held_url, \
                      observed_at, observed_by, block, eligible_for_financial_aid, language, refused_url, refused_why, \
                      refused_since";
const OLDEST: &str = "2026-11-20 10:00:00.123456";
const OLD: &str = "2026-11-21 10:00:00.123456";
const NEW: &str = "2026-11-22 10:00:00.123456";

fn at(text: &str) -> DateTime<Utc> {
    format!("{}Z", text.replace(' ', "T")).parse().unwrap()
}

/// With data in every table, as that release wrote it; NULL only where it has to be.
async fn filled(kind: Kind) -> TestDatabase {
    let database = TestDatabase::empty(kind).await;
    let db = &database.owner.connection();
    let table = "id varchar(255) PRIMARY KEY, marketing_url text, social_sharing_url text";
    database.execute(&format!("CREATE TABLE course_overviews_courseoverview ({table})")).await;
    Migrator::up(db, Some(RELEASED)).await.unwrap();
    let insert = "INSERT INTO course_overviews_courseoverview (id) VALUES";
    database.execute(&format!("{insert} ('{RUN}')")).await;
    let bytes = match kind {
        Kind::Postgres => r"'\x00ff7b'",
        _ => "X'00ff7b'",
    };
    let rows = [
        format!(
            "course_sharing_ledger ({LEDGER}) VALUES ('{RUN}', '{URL}', TRUE, '{OLD}', NULL, '{OLDEST}', 7, 'https://held', '{OLD}', \
             'event', -5, FALSE, 'de', 'http://refused', 'it is plain', '{NEW}')"
        ),
        format!(
            "course_sharing_ledger ({LEDGER}) VALUES ('a/b/c', '{URL}', FALSE, NULL, '{OLD}', '{OLD}', NULL, NULL, '{NEW}', \
             'command', -5, NULL, NULL, NULL, NULL, NULL)"
        ),
        format!(
            "course_sharing_ledger ({LEDGER}) VALUES ('a/b/d', '{URL}', TRUE, NULL, NULL, '{OLD}', NULL, NULL, '{OLDEST}', 'event', \
             6, NULL, NULL, NULL, NULL, NULL)"
        ),
        format!("course_sharing_block VALUES (-5, 2, '{OLD}')"),
        format!("course_sharing_block VALUES (6, 1, '{NEW}')"),
        format!(
            "course_sharing_reconcile VALUES (7, '{OLDEST}', '{OLD}', '{OLD}', 'refused', 3, 100, 3, 2, 1, 1, 4, '{{\"a\": 1}}')"
        ),
        format!("course_sharing_lease VALUES ('heal', 'host:1:2', '{OLD}')"),
        format!("course_sharing_blank VALUES ('{RUN}', '{OLD}', 'restorable', '{OLDEST}')"),
        format!("course_sharing_failure VALUES ('{RUN}', '{OLD}', 'HTTP 500')"),
        format!(
            "course_sharing_dead_letter VALUES (9, '{0}', {bytes}, 3, '{0}', {bytes}, 'course-publish', 'text/plain', 'why', \
             '{RUN}', TRUE, 2, '{OLDEST}', '{OLD}')",
            "f".repeat(64)
        ),
    ];
    for row in rows {
        // Times with their zone, where the database has such.
        let row = if kind == Kind::Mysql { row } else { row.replace(".123456'", ".123456+00:00'") };
        database.execute(&format!("INSERT INTO {row}")).await;
    }
    database
}

fn ledger_rows() -> Vec<ledger::Model> {
    let of_catalog = ledger::Model {
        run_key: "a/b/d".to_owned(),
        marketing_url: Some(URL.to_owned()),
        listed: true,
        pending_clear_since: None,
        cleared_at: None,
        changed_at: Some(at(OLD)),
        // Its block was seen later.
        observed_at: at(NEW),
        observed_by: ledger::ObservedBy::Pass,
        eligible_for_financial_aid: None,
        language: None,
        refused_url: None,
        refused_why: None,
        refused_since: None,
    };
    let cleared = ledger::Model {
        run_key: "a/b/c".to_owned(),
        listed: false,
        cleared_at: Some(at(OLD)),
        observed_by: ledger::ObservedBy::Command,
        ..of_catalog.clone()
    };
    let full = ledger::Model {
        run_key: RUN.to_owned(),
        pending_clear_since: Some(at(OLD)),
        changed_at: Some(at(OLDEST)),
        observed_at: at(OLD),
        observed_by: ledger::ObservedBy::Event,
        eligible_for_financial_aid: Some(false),
        language: Some("de".to_owned()),
        refused_url: Some("http://refused".to_owned()),
        refused_why: Some("it is plain".to_owned()),
        refused_since: Some(at(NEW)),
        ..of_catalog.clone()
    };
    vec![cleared, of_catalog, full]
}

fn pass_row() -> pass::Model {
    pass::Model {
        id: 7,
        kind: pass::PassKind::Full,
        started_at: at(OLDEST),
        progress_at: at(OLD),
        finished_at: Some(at(OLD)),
        verdict: pass::Verdict::Refused,
        position: 3,
        page_size: 100,
        listed: 3,
        updated: 2,
        cleared: 1,
        held_back: 1,
        failures: 4,
        report: r#"{"a": 1}"#.to_owned(),
    }
}

fn letter() -> dead_letter::Model {
    let bytes = vec![0x00, 0xff, 0x7b];
    dead_letter::Model {
        id: 9,
        digest: "f".repeat(64),
        body: bytes.clone(),
        body_bytes: 3,
        body_sha256: "f".repeat(64),
        properties: bytes,
        routing_key: "course-publish".to_owned(),
        content_type: Some("text/plain".to_owned()),
        reason: "why".to_owned(),
        course_id: Some(RUN.to_owned()),
        understood: true,
        attempt: 2,
        first_seen: at(OLDEST),
        taken_at: at(OLD),
    }
}

#[tokio::test]
async fn everything_is_kept_and_the_program_goes_on_with_it() {
    for kind in KINDS {
        let database = filled(kind).await;
        let db = &database.owner.connection();
        for _ in 0..2 {
            migration::migrate(db, Direction::Up { create_overview_table: false, restore_trigger: false })
                .await
                .unwrap();
            let rows = ledger::Entity::find().order_by_asc(ledger::Column::RunKey).all(db).await.unwrap();
            assert_eq!(rows, ledger_rows(), "{kind:?}");
            assert_eq!(pass::Entity::find().all(db).await.unwrap(), [pass_row()], "{kind:?}");
            assert_eq!(dead_letter::Entity::find().all(db).await.unwrap(), [letter()], "{kind:?}");
            let lease =
                lease::Model { job: "heal".to_owned(), holder: "host:1:2".to_owned(), expires_at: at(OLD) };
            assert_eq!(lease::Entity::find().all(db).await.unwrap(), [lease], "{kind:?}");
            let failed =
                failure::Model { run_key: RUN.to_owned(), failed_at: at(OLD), why: "HTTP 500".to_owned() };
            assert_eq!(failure::Entity::find().all(db).await.unwrap(), [failed], "{kind:?}");
            let blank =
                blank::Model { course_id: RUN.to_owned(), since: at(OLD), reason: blank::Reason::Restorable };
            assert_eq!(blank::Entity::find().all(db).await.unwrap(), [blank], "{kind:?}");
        }
        let store = &database.owner;
        store.check_schema().await.unwrap();
        assert_eq!(store.heal().await.unwrap().overviews, 1, "{kind:?}");
        assert_eq!(database.link(RUN).await.flatten().as_deref(), Some(URL), "{kind:?}");
        database.drop().await;
    }
}
