//! A process never believes that it is later than it is, however long its database takes to answer.

use std::time::Duration;

use course_sharing::config;
use course_sharing::store::Store;

use crate::support::databases::{Kind, TestDatabase};
use crate::support::proxy::in_front_of;

#[tokio::test]
async fn a_slow_first_connection_does_not_put_the_clock_ahead() {
    for (kind, port) in [(Kind::Postgres, 5432), (Kind::Mysql, 3306)] {
        let database = TestDatabase::new(kind).await;
        let (proxy, url) = in_front_of(&database.url, port).await;
        let settings = config::Database { url: url.as_str().into(), ..config::Database::default() };
        let slow = Store::connect_lazy(&settings).await.unwrap();
        proxy.freeze();
        let thaw = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            proxy.resume();
        };
        let (believed, ()) = tokio::join!(slow.now(), thaw);
        let now = database.store.now().await.unwrap();
        assert!(believed.unwrap() <= now, "{kind:?}");
        let later = slow.now().await.unwrap();
        assert!(later <= database.owner.now().await.unwrap(), "{kind:?}: from the reading that is kept");
        assert!(later >= now - Duration::from_secs(1), "{kind:?}: nor is it far behind");
        database.drop().await;
    }
}
