//! How the port is protected: who is answered, and TLS. It is read when the worker starts, and again at a reload.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::access::{Access, LOCKED};
use super::tls;
use crate::config::{self, ConfigError};

/// What Kubernetes and Prometheus ask for, which rarely have a token. No course is named in their answers.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Who is answered, and by which certificate.
#[derive(Clone)]
pub struct Protection {
    pub(super) access: Access,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Protection {
    /// Reads the files with tokens, certificate and key that the configuration names.
    ///
    /// # Errors
    /// The key whose file cannot be used, with the file, and the line if it has tokens.
    pub fn read(http: &config::Http) -> Result<Self, ConfigError> {
        Ok(Self { access: Access::read(http)?, tls: tls::acceptor(http)? })
    }

    /// What an operator should know: nobody is answered, and what to do.
    pub fn doubt(&self) -> Option<&'static str> {
        matches!(self.access, Access::Locked).then_some(LOCKED)
    }
}

/// Passes the request on if its sender may have an answer.
pub(super) async fn demand(
    State(protection): State<watch::Receiver<Protection>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if !OPEN.contains(&path) {
        let checked = protection.borrow().access.check(request.headers(), path);
        if let Err(refusal) = checked {
            return *refusal;
        }
    }
    next.run(request).await
}
