//! A connection that is open and lets nothing through, as behind a firewall that forgot it: every statement ends within
//! its limit, and what comes after goes by a new connection.

use std::time::Duration;

use chrono::Utc;
use course_sharing::config;
use course_sharing::store::{PassKind, SeenSince, Store, Timeouts};
use test_support::Proxy;

use super::{RUN, URL, entry, key};
use crate::support::certificates::Certificates;
use crate::support::databases::{Kind, TestDatabase};
use crate::support::own_servers;
use crate::support::proxy::in_front_of;

/// Longer than a connection that comes back to the pool may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(300);
/// Connections in the pool.
const PLACES: u32 = 2;
/// For heal, before it counts as failing for good.
const TRIES: usize = 10;
/// Far beyond the limits.
const SOON: Duration = Duration::from_secs(30);

/// A store behind a proxy, with connections that are in use.
async fn behind_a_proxy(database: &TestDatabase, tls: bool) -> (Store, Proxy) {
    let port = if database.kind == Kind::Postgres { 5432 } else { 3306 };
    let (proxy, url) = in_front_of(&database.url, port).await;
    let tls = match (database.kind, tls) {
        (Kind::Postgres, true) => "sslmode=require",
        (Kind::Postgres, false) => "sslmode=disable",
        (_, true) => "ssl-mode=required",
        (_, false) => "ssl-mode=disabled",
    };
    let settings = config::Database { url: format!("{url}?{tls}").as_str().into(), max_connections: PLACES };
    let store = Store::connect(&settings).await.unwrap();
    (store.with_timeouts(Timeouts { batch: LIMIT, table: LIMIT }), proxy)
}

#[tokio::test]
async fn heal_ends_within_its_limit_and_works_again_by_a_new_connection() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        heal_works_again(TestDatabase::new(kind).await, false).await;
    }
}

/// Over TLS the driver waits for the server's farewell before it lets go of a connection.
#[tokio::test]
async fn a_connection_over_tls_that_hangs_keeps_no_place_in_the_pool() {
    heal_works_again(TestDatabase::new(Kind::Postgres).await, true).await;
    let certificates = Certificates::new("nobody");
    let server = own_servers::mariadb(&certificates).await;
    heal_works_again(TestDatabase::on(Kind::Mysql, Some(server.url())).await, true).await;
}

async fn heal_works_again(database: TestDatabase, tls: bool) {
    let kind = database.kind;
    {
        database.insert_overview(RUN, None).await;
        let (store, proxy) = behind_a_proxy(&database, tls).await;
        let now = store.now().await.unwrap();
        store.apply(vec![entry(RUN, Some(URL), now)], vec![]).await.unwrap();
        store.heal().await.unwrap();
        // Each time connections are lost, and more often than there are places in the pool.
        for round in 0..3 {
            proxy.lose();
            database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
            // It fails for each connection that is lost, and on a busy machine while a new one takes too long.
            let mut errors = Vec::new();
            let is_healed = loop {
                let ended = tokio::time::timeout(SOON, store.heal()).await;
                match ended.unwrap_or_else(|_| panic!("{kind:?} {round}: heal has no end")) {
                    Ok(_) => break true,
                    Err(error) => errors.push(error),
                }
                if errors.len() > TRIES {
                    break false;
                }
            };
            let link = database.link(RUN).await.flatten();
            assert_eq!((is_healed, link.as_deref()), (true, Some(URL)), "{kind:?} {round}: {errors:?}");
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn no_statement_waits_for_ever() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        let database = TestDatabase::new(kind).await;
        let (store, proxy) = behind_a_proxy(&database, false).await;
        let mut pass = store.begin_pass(PassKind::Full, 1).await.unwrap();
        proxy.freeze();
        let patient = store.clone();
        let store = store.with_timeouts(Timeouts { batch: SHORT, table: SHORT });
        let now = Utc::now();
        let since = SeenSince { began: now, listed: now };
        let courses = [key(RUN)];
        macro_rules! ends {
            ($($work:expr),* $(,)?) => {
                $(
                    let ended = tokio::time::timeout(SOON, $work).await.map(|ended| ended.is_err());
                    assert_eq!(ended, Ok(true), "{kind:?}: {}", stringify!($work));
                )*
            };
        }
        ends!(
            store.heal(),
            store.copy_changes(now),
            store.note_blanks(LIMIT),
            store.begin_pass(PassKind::Full, 1),
            store.save_pass(&mut pass),
            store.last_passes(None, 1),
            store.count_absent(now),
            store.absent(now, 1),
            store.clear_absent(now),
            store.coverage(since),
            store.count_listed(since),
            store.unseen(since, None, 1),
            store.counts(),
            store.snapshots(&courses),
            store.restore(&courses),
            store.apply(vec![entry(RUN, Some(URL), now)], vec![key(RUN)]),
            store.lms_page_size(),
            store.check_schema(),
            store.acquire("heal", "me", LIMIT),
        );
        proxy.resume();
        patient.counts().await.unwrap();
        database.drop().await;
    }
}
