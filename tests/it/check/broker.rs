//! What can be wrong with the broker.

use secrecy::ExposeSecret;

use super::{SECRET, checked, one_is_wrong, with_all_well};
use crate::support::databases::Kind;

#[tokio::test]
async fn no_broker() {
    with_all_well(Kind::Sqlite, async |stage| {
        let url = format!("amqp://someone:{SECRET}@127.0.0.1:1/%2f");
        let settings = [("amqp.url", url.as_str())];
        one_is_wrong(stage, &settings, "broker", &["127.0.0.1:1", "amqp.url"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password() {
    with_all_well(Kind::Sqlite, async |stage| {
        let mut url = url::Url::parse(stage.rig.config.url.expose_secret()).unwrap();
        url.set_password(Some(SECRET)).unwrap();
        let settings = [("amqp.url", url.as_str())];
        one_is_wrong(stage, &settings, "broker", &["password", "amqp.url"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_virtual_host_that_is_not_there() {
    with_all_well(Kind::Sqlite, async |stage| {
        let mut url = url::Url::parse(stage.rig.config.url.expose_secret()).unwrap();
        url.set_path("/nowhere");
        one_is_wrong(stage, &[("amqp.url", url.as_str())], "broker", &["nowhere", "virtual host"]).await;
    })
    .await;
}

#[tokio::test]
async fn no_exchange_and_not_to_be_declared() {
    with_all_well(Kind::Sqlite, async |stage| {
        let settings = [("amqp.declare", "false")];
        one_is_wrong(stage, &settings, "broker", &[&stage.rig.config.exchange, "amqp.declare"]).await;
        stage.rig.declare().await;
        checked(stage, &settings).await.expect(0);
    })
    .await;
}
