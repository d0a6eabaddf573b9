//! Why no connection can be had. The pool only says that it waited in vain: it takes a server that refuses connections
//! for one that is about to start.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::Connection;

/// For one connection.
const LIMIT: Duration = Duration::from_secs(2);

/// What ails a connection to this database, where the pool waited in vain; else the error as it is.
pub(super) async fn root_cause(url: &str, error: DbErr) -> DbErr {
    let waited = matches!(&error, DbErr::ConnectionAcquire(_))
        || matches!(&error, DbErr::Conn(RuntimeErr::SqlxError(e)) if matches!(**e, sqlx::Error::PoolTimedOut));
    if !waited {
        return error;
    }
    let one = async {
        match url.split(':').next() {
            Some("postgres" | "postgresql") => sqlx::PgConnection::connect(url).await.map(drop),
            Some("mysql" | "mariadb") => sqlx::MySqlConnection::connect(url).await.map(drop),
            _ => Ok(()),
        }
    };
    match tokio::time::timeout(LIMIT, one).await {
        Ok(Ok(())) => error,
        Ok(Err(cause)) => DbErr::Conn(RuntimeErr::SqlxError(Arc::new(cause))),
        Err(_) => DbErr::Conn(RuntimeErr::Internal(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}
