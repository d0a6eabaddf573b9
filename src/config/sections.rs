//! The sections. The default of every key is in the sample.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::ConfigError;
use super::address::{TlsFiles, TraceUrl, WebUrl};
use super::values::{Absent, LogFormat, PageSize, Schedule, address, columns, duration, period, schedule};
use crate::model::extra_columns::AlsoColumn;
use crate::model::marketing_url::UrlPolicy;

/// Everything that can be set, section by section. Its `Debug` shows no secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The LMS's database, with our own tables beside the LMS's.
    pub database: Database,
    /// RabbitMQ.
    pub amqp: Amqp,
    /// course-discovery.
    pub catalog: Catalog,
    /// What the LMS is set to, as far as links depend on it.
    pub lms: Lms,
    /// Which URLs may be shown to learners.
    pub marketing_url: UrlPolicy,
    /// How events are worked off.
    pub sync: Sync,
    /// The pass over the whole Catalog.
    pub reconcile: Reconcile,
    /// Copying last-known URLs back.
    pub heal: Heal,
    /// The worker's port.
    pub http: Http,
    /// Log lines.
    pub log: Log,
}

/// What every events queue's name ends with; the other queues' names are built from what is before it.
pub(super) const EVENTS: &str = ".events";

/// Where overviews and our own tables are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite:`, `mysql:` (MySQL and MariaDB) or `postgres:`; holds a password, so it is never shown.
    pub url: SecretString,
    /// Connections in the pool, at most.
    pub max_connections: u32,
}

/// The broker, and the names of the topology on it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amqp {
    /// `amqp:` or, with TLS, `amqps:`; holds a password, so it is never shown.
    pub url: SecretString,
    /// The durable topic exchange that Studio and the LMS publish to.
    pub exchange: String,
    /// The events queue; ends with `.events`.
    pub queue: String,
    /// Deliveries in hand at once, at most.
    pub prefetch: u16,
    /// True: declare the topology. False: only check that it is there.
    pub declare: bool,
}

impl Amqp {
    /// What the names of all our queues begin with: the events queue's name less `.events`.
    pub(crate) fn queue_prefix(&self) -> &str {
        self.queue.strip_suffix(EVENTS).unwrap_or(&self.queue)
    }

    /// The files with certificates that the URL names.
    pub(crate) fn tls_files(&self) -> Result<TlsFiles, ConfigError> {
        TlsFiles::named_in(self.url.expose_secret())
    }
}

/// course-discovery, and how gently it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The root; `/api/v1/course_runs/` is appended, a path in it is kept.
    pub url: WebUrl,
    /// The LMS's token endpoint, usually `<LMS>/oauth2/access_token`. None: no authentication.
    pub token_url: Option<WebUrl>,
    /// OAuth2 client id.
    pub client_id: Option<String>,
    /// OAuth2 client secret.
    pub client_secret: Option<SecretString>,
    /// Requests at once, over all uses.
    pub concurrency: usize,
    /// One request, from connecting to the last byte.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Requests in any hour, over all uses of this process. 0: no limit but what a 429 sets.
    pub requests_per_hour: u32,
    /// The request target in bytes (path and query), at most; `keys=` lists are cut to fit.
    pub max_url_bytes: usize,
    /// One answer's body in bytes, at most.
    pub max_body_bytes: usize,
}

/// What the LMS's own settings say about links; the same order of links follows from the same flags.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lms {
    /// `LMS_ROOT_URL`, for the About-page fallback.
    pub root_url: Url,
    /// `SOCIAL_SHARING_SETTINGS["CUSTOM_COURSE_URLS"]`.
    pub custom_course_urls: bool,
    /// `FEATURES["ENABLE_MKTG_SITE"]`.
    pub marketing_site: bool,
}

/// How events are worked off.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// Events settled in one go, at most.
    pub max_batch: usize,
    /// A run is asked for at most once in this time.
    #[serde(deserialize_with = "duration")]
    pub min_interval: Duration,
    /// How far apart a null must be seen twice before a URL is cleared.
    #[serde(deserialize_with = "duration")]
    pub clear_after: Duration,
    /// Columns of the overview that are copied beside the URL; in the environment separated by commas.
    #[serde(deserialize_with = "columns")]
    pub also: Vec<AlsoColumn>,
}

/// The pass over the whole Catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// When the worker runs a pass, in UTC.
    #[serde(deserialize_with = "schedule")]
    pub schedule: Option<Schedule>,
    /// When the worker runs a light pass, in UTC.
    #[serde(deserialize_with = "schedule")]
    pub light_schedule: Option<Schedule>,
    /// How often the Catalog is asked what has changed.
    #[serde(deserialize_with = "period")]
    pub delta_interval: Option<Duration>,
    /// Runs asked for in one request.
    pub page_size: PageSize,
    /// The brake: the part of all linked overviews that one pass may clear or re-host.
    pub max_change_ratio: f64,
    /// What to do with the URL of a run that the Catalog no longer lists.
    pub absent: Absent,
    /// A pass that was killed is taken up where it stood if its last sign of life is no older than this.
    #[serde(deserialize_with = "duration")]
    pub resume_within: Duration,
}

/// Copying last-known URLs back to overviews that lost them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heal {
    /// How often the worker heals.
    #[serde(deserialize_with = "period")]
    pub interval: Option<Duration>,
}

/// The worker's port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where health, metrics, links and the status page are served.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
    /// The file with the tokens that requests need, one a line.
    pub tokens_file: Option<PathBuf>,
    /// Whether requests without a token are answered though others than this machine can send some.
    pub anonymous: bool,
    /// The port's certificate, with those between it and its authority, in PEM; with it, the port speaks TLS.
    pub tls_certificate_file: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    pub tls_key_file: Option<PathBuf>,
    /// Where people have Grafana; the page links to it.
    pub grafana_url: Option<WebUrl>,
    /// Where people see a trace, with `{trace_id}` in its place; the page links to it.
    pub trace_url: Option<TraceUrl>,
}

/// Log lines, always on stderr.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, in the language of `RUST_LOG`.
    pub level: String,
}
