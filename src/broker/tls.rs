//! Reads the certificates for `amqps:` when a connection is opened.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

use crate::config::TlsFiles;

/// Four times the size of an operating system's list of authorities.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the files that the URL names.
///
/// # Errors
/// A file that cannot be read, named with its parameter.
pub(super) fn read(files: &TlsFiles) -> io::Result<OwnedTLSConfig> {
    let mut config = OwnedTLSConfig::default();
    if let Some(path) = &files.authorities {
        config.cert_chain = Some(text("cacertfile", path)?);
    }
    if let Some((certificate, key)) = &files.certificate {
        let pem = text("certfile", certificate)?.into_bytes();
        let key = text("keyfile", key)?.into_bytes();
        config.identity = Some(OwnedIdentity::PKCS8 { pem, key });
    }
    Ok(config)
}

fn text(parameter: &str, path: &Path) -> io::Result<String> {
    let read = || {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut text = String::new();
        File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
        if !text.contains("-----BEGIN") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has nothing in PEM format"));
        }
        Ok(text)
    };
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("{parameter} {} cannot be used: {error}", path.display()))
    };
    read().map_err(named)
}
