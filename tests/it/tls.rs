//! TLS with an authority that the system does not know: for the broker, which takes a certificate for a password, the
//! database and the Catalog.

use crate::support::certificates::Certificates;
use crate::support::databases::Kind;
use crate::support::own_servers;
use crate::support::process::{Ended, Program};
use crate::support::stage::{Stage, with_stage};

async fn checked(stage: &Stage, settings: &[(&str, &str)], authorities: Option<&str>) -> Ended {
    let mut environment = stage.environment(settings);
    if let Some(file) = authorities {
        // With no folder beside it, which this machine may name.
        environment.extend([("SSL_CERT_FILE", file), ("SSL_CERT_DIR", "")].map(own));
    }
    Program::start(&["check"], &environment).ended().await
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What `check` says of one part.
fn line<'e>(ended: &'e Ended, part: &str) -> &'e str {
    let found = ended.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some(part));
    found.unwrap_or_else(|| panic!("nothing of {part}: {ended:?}"))
}

#[tokio::test]
async fn a_private_authority_is_known_to_broker_database_and_catalog_by_one_file() {
    with_stage(Kind::Sqlite, async |stage| {
        let certificates = Certificates::new("guest");
        let (rabbitmq, mariadb) =
            tokio::join!(own_servers::rabbitmq(&certificates), own_servers::mariadb(&certificates));
        let catalog = certificates.in_front_of(stage.catalog.url().replace("http://", "")).await;
        let catalog = format!("https://{catalog}");
        let database = format!("{}/mysql?ssl-mode=VERIFY_IDENTITY", mariadb.url());
        let [certfile, keyfile] = ["client.pem", "client.key"].map(|file| certificates.path(file));
        let broker = format!(
            "amqps://127.0.0.1:{}/%2f?auth_mechanism=external&certfile={certfile}&keyfile={keyfile}",
            rabbitmq.port
        );
        let authorities = certificates.path("ca.pem");
        let settings =
            |broker| [("amqp.url", broker), ("catalog.url", &*catalog), ("database.url", &*database)];

        let known = checked(stage, &settings(&broker), Some(&authorities)).await;
        assert!(line(&known, "broker").starts_with("ok"), "{known:?}");
        assert!(line(&known, "catalog").starts_with("ok"), "{known:?}");
        // It has no table of ours: what is missing in it is found behind TLS.
        assert!(line(&known, "database").contains("course-sharing migrate"), "{known:?}");

        let unknown = checked(stage, &settings(&broker), None).await;
        for part in ["broker", "catalog", "database"] {
            assert!(line(&unknown, part).contains("certificate"), "{unknown:?}");
        }

        let in_the_url = format!("{broker}&cacertfile={authorities}");
        let own = checked(stage, &settings(&in_the_url), None).await;
        assert!(line(&own, "broker").starts_with("ok"), "{own:?}");

        let missing =
            checked(stage, &settings(&broker.replace("client.key", "none.key")), Some(&authorities)).await;
        let said = line(&missing, "broker");
        assert!(said.contains("keyfile") && said.contains("none.key"), "{missing:?}");
    })
    .await;
}

#[tokio::test]
async fn only_a_catalog_behind_tls_needs_authorities() {
    with_stage(Kind::Sqlite, async |stage| {
        let none = Some("/dev/null");
        let plain = checked(stage, &[], none).await;
        assert!(line(&plain, "catalog").starts_with("ok"), "{plain:?}");
        let behind_tls = [
            vec![("catalog.url", "https://127.0.0.1:9")],
            vec![
                ("catalog.token_url", "https://127.0.0.1:9/token"),
                ("catalog.client_id", "id"),
                ("catalog.client_secret", "secret"),
            ],
        ];
        for settings in behind_tls {
            let checked = checked(stage, &settings, none).await;
            let said = line(&checked, "catalog");
            assert!(said.contains("ca-certificates") && said.contains("SSL_CERT_FILE"), "{checked:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_private_authority_is_known_to_postgres_by_the_common_file_or_by_one_of_its_own() {
    with_stage(Kind::Sqlite, async |stage| {
        let certificates = Certificates::new("guest");
        let postgres = own_servers::postgres(&certificates).await;
        let url = format!("{}/postgres?sslmode=verify-full", postgres.url());
        let authorities = certificates.path("ca.pem");
        let own = format!("{url}&sslrootcert={authorities}");
        // The database is empty: `check` misses the tables, so it got through TLS.
        for (url, authorities, says) in [
            (&url, Some(&*authorities), "course-sharing migrate"),
            (&own, None, "course-sharing migrate"),
            (&url, None, "certificate"),
        ] {
            let ended = checked(stage, &[("database.url", url)], authorities).await;
            assert!(line(&ended, "database").contains(says), "{url}: {ended:?}");
        }
        let unread = format!("{url}&sslca={authorities}");
        let ended = checked(stage, &[("database.url", &unread)], None).await.expect(2);
        ended.says(&["database.url", "\"sslca\""]);
    })
    .await;
}
