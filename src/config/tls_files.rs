//! The files that `amqps:` URLs name in their query, as RabbitMQ's own clients call them.

use std::path::PathBuf;

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use secrecy::ExposeSecret;
use url::Url;

use super::address::{self, known_parameters};
use super::{Amqp, ConfigError};

/// What is read of the query, by lapin or here.
const PARAMETERS: &[&str] =
    &["heartbeat", "frame_max", "channel_max", "auth_mechanism", "cacertfile", "certfile", "keyfile"];

/// Certificates in PEM files. They are read at each connecting, so that renewed ones are taken up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that the broker's certificate may come from, beside the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate, with those between it and its authority, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Amqp {
    /// The files with certificates that the URL names.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn tls_files(&self) -> Result<TlsFiles, ConfigError> {
        let invalid = |why| ConfigError::Invalid { key: "amqp.url", why };
        // Here, as the library quotes a URL that it cannot read, with the password in it; and it takes one without
        // a host for this machine's.
        let text = self.url.expose_secret();
        let url = address::parse(text).filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        let (Some(url), Ok(uri)) = (url, text.parse::<AMQPUri>()) else {
            return Err(invalid(format!(
                "expected a URL like amqp://user:password@host:5672/%2f, or amqps: for TLS; {}",
                address::ENCODE
            )));
        };
        TlsFiles::of(&url, &uri).map_err(invalid)
    }
}

impl TlsFiles {
    /// Takes them out of the URL, which `uri` is the library's reading of.
    ///
    /// # Errors
    /// A parameter that nothing reads, one without another that it needs, or a value out of bounds.
    fn of(url: &Url, uri: &AMQPUri) -> Result<Self, String> {
        known_parameters(url, PARAMETERS)?;
        let file = |wanted: &str| {
            let value = url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value);
            value.map(|value| PathBuf::from(&*value))
        };
        let certificate = match (file("certfile"), file("keyfile")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err("certfile and keyfile go together".to_owned()),
        };
        let files = Self { authorities: file("cacertfile"), certificate };
        if uri.scheme == AMQPScheme::AMQP && files != Self::default() {
            return Err("cacertfile, certfile and keyfile need amqps:".to_owned());
        }
        let query = &uri.query;
        if query.auth_mechanism == Some(SASLMechanism::External) && files.certificate.is_none() {
            return Err("auth_mechanism=external needs certfile and keyfile".to_owned());
        }
        if query.heartbeat.is_some_and(|seconds| !(1..=600).contains(&seconds)) {
            return Err("heartbeat is out of bounds; expected 1 to 600".to_owned());
        }
        if query.frame_max.is_some_and(|bytes| !(4096..=1_048_576).contains(&bytes)) {
            return Err("frame_max is out of bounds; expected 4096 to 1048576".to_owned());
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Result<TlsFiles, String> {
        TlsFiles::of(&Url::parse(text).unwrap(), &text.parse().unwrap())
    }

    #[test]
    fn certificates_are_taken_from_the_query() {
        let url = "amqps://h/%2f?auth_mechanism=external&cacertfile=%2Fa.pem&certfile=/b.pem&keyfile=/c.pem";
        let expected = TlsFiles {
            authorities: Some("/a.pem".into()),
            certificate: Some(("/b.pem".into(), "/c.pem".into())),
        };
        assert_eq!(files(url), Ok(expected));
        assert_eq!(files("amqp://h/?heartbeat=5&frame_max=4096&channel_max=9"), Ok(TlsFiles::default()));
    }

    #[test]
    fn a_parameter_without_use_is_refused_by_name() {
        for (url, words) in [
            ("amqps://h/?cacert=/a.pem", "\"cacert\""),
            ("amqps://h/?verify=verify_peer", "\"verify\""),
            ("amqp://h/?connection_timeout=5", "\"connection_timeout\""),
            ("amqps://h/?certfile=/b.pem", "keyfile"),
            ("amqps://h/?keyfile=/b.pem", "certfile"),
            ("amqp://h/?cacertfile=/a.pem", "amqps:"),
            ("amqps://h/?auth_mechanism=external", "certfile"),
            ("amqp://h/?heartbeat=0", "1 to 600"),
            ("amqp://h/?frame_max=1", "4096"),
        ] {
            let why = files(url).unwrap_err();
            assert!(why.contains(words), "{url}: {why}");
        }
    }
}
