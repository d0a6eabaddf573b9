//! Servers of a test's own, with TLS: in the folder of their certificates, which has to outlive them.

use test_support::servers::{DatabaseServer, Rabbitmq};

use super::certificates::Certificates;

/// A RabbitMQ that speaks TLS only, and takes the name in a client's certificate for its user.
pub(crate) async fn rabbitmq(certificates: &Certificates) -> Rabbitmq {
    let folder = certificates.folder();
    Rabbitmq::start(folder, Some(folder)).await.unwrap()
}

/// A MariaDB with TLS.
pub(crate) async fn mariadb(certificates: &Certificates) -> DatabaseServer {
    mariadb_with(certificates, &[]).await
}

/// The same with these options.
pub(crate) async fn mariadb_with(certificates: &Certificates, more: &[&str]) -> DatabaseServer {
    let folder = certificates.folder();
    DatabaseServer::mariadb(folder, Some(folder), more).await.unwrap()
}

/// A PostgreSQL that takes nothing but TLS.
pub(crate) async fn postgres(certificates: &Certificates) -> DatabaseServer {
    let folder = certificates.folder();
    DatabaseServer::postgres(folder, Some(folder)).await.unwrap()
}
