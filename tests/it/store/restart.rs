//! A database that ends its connections, as at a restart: the next statement goes by a new one, and none fails.

use course_sharing::store::{PassKind, Store, StoreError};
use futures_util::future::join_all;
use test_support::servers::Down;

use super::{RUN, URL, entry, key};
use crate::support::certificates::Certificates;
use crate::support::databases::{Kind, TestDatabase};
use crate::support::own_servers;

/// Has several connections of the pool idle, for less than the second after which they would be asked.
async fn use_connections(store: &Store) {
    for counted in join_all((0..4).map(|_| store.counts())).await {
        counted.unwrap();
    }
}

/// One statement of each kind, each to be the first one after a restart.
async fn first(store: &Store, n: usize) -> Result<(), StoreError> {
    match n {
        0 => store.now().await.map(drop),
        1 => store.links(&[key(RUN)]).await.map(drop),
        2 => store.restore(&[key(RUN)]).await.map(drop),
        3 => store.begin_pass(PassKind::Full, 1).await.map(drop),
        4 => store.heal().await.map(drop),
        _ => store.apply(vec![entry(RUN, Some(URL), chrono::Utc::now())], vec![key(RUN)]).await.map(drop),
    }
}

#[tokio::test]
async fn no_statement_fails_after_its_connection_was_ended() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        let database = TestDatabase::new(kind).await;
        database.insert_overview(RUN, None).await;
        let (store, user) = (&database.store, database.user.clone().unwrap());
        for n in 0..6 {
            use_connections(store).await;
            database.end_sessions_of(&user).await;
            first(store, n).await.unwrap_or_else(|error| panic!("{kind:?} {n}: {error:?}"));
        }
        assert_eq!(database.link(RUN).await.flatten().as_deref(), Some(URL));
        database.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_fails_after_the_server_was_restarted() {
    let certificates = Certificates::new("nobody");
    let (postgres, mariadb) =
        tokio::join!(own_servers::postgres(&certificates), own_servers::mariadb(&certificates));
    for mut server in [postgres, mariadb] {
        let kind = server.kind;
        let database = TestDatabase::on(kind, Some(server.url())).await;
        database.insert_overview(RUN, None).await;
        for n in 0..6 {
            use_connections(&database.store).await;
            server.restart(Down::Orderly).await.unwrap();
            first(&database.store, n).await.unwrap_or_else(|error| panic!("{kind:?} {n}: {error:?}"));
        }
    }
}
