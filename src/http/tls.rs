//! TLS of the port: certificate and key from their files, and the handshake of a connection.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::{self, ConfigError, read_secret};

/// Does the handshakes, if there is a certificate: TLS 1.2 or later.
pub(super) fn acceptor(http: &config::Http) -> Result<Option<TlsAcceptor>, ConfigError> {
    // One is not valid without the other.
    let (Some(certificate), Some(key)) = (&http.tls_certificate_file, &http.tls_key_file) else {
        return Ok(None);
    };
    let wrong = |name: &str, path: &Path, why: &dyn std::fmt::Display| {
        ConfigError::invalid(name, format!("{} cannot be used: {why}", path.display()))
    };
    let of_certificate = |why: &dyn std::fmt::Display| wrong("http.tls_certificate_file", certificate, why);
    let of_key = |why: &dyn std::fmt::Display| wrong("http.tls_key_file", key, why);

    let pem = read_secret(certificate).map_err(|error| of_certificate(&error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(|error| of_certificate(&error))?;
    if chain.is_empty() {
        return Err(of_certificate(&"it has no certificate in PEM format"));
    }
    let pem = read_secret(key).map_err(|error| of_key(&error))?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| of_key(&error))?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| of_certificate(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
