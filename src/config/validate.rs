//! What the values must be together, and between which bounds: values beyond them would panic, abort or hang somewhere
//! else, later.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::ExposeSecret;
use url::{Host, Url};

use super::sections::EVENTS;
use super::{Amqp, Catalog, Config, ConfigError, Database, Heal, Http, Lms, Reconcile, Sync, address};
use crate::model::marketing_url::UrlPolicy;

/// The parameters of `mysql:` URLs that the driver reads.
#[rustfmt::skip]
const MYSQL: &[&str] = &[
    "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "sslmode", "sslca", "sslcert", "sslkey", "charset", "collation",
    "socket", "statement-cache-capacity", "timezone", "time-zone",
];
/// The same of `postgres:` URLs.
#[rustfmt::skip]
const POSTGRES: &[&str] = &[
    "sslmode", "sslrootcert", "sslcert", "sslkey", "ssl-mode", "ssl-root-cert", "ssl-ca", "ssl-cert", "ssl-key", "host",
    "hostaddr", "port", "dbname", "user", "password", "application_name", "options", "statement-cache-capacity",
];
/// Hosts that `marketing_url.allowed_hosts` may name, at most.
const MAX_HOSTS: usize = 1_000;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Valid = Result<(), ConfigError>;

impl Config {
    pub(super) fn validate(&self) -> Valid {
        database(&self.database)?;
        amqp(&self.amqp)?;
        catalog(&self.catalog)?;
        lms(&self.lms)?;
        marketing_url(&self.marketing_url)?;
        sync(&self.sync)?;
        reconcile(&self.reconcile)?;
        heal(&self.heal)?;
        http(&self.http)
    }
}

fn database(database: &Database) -> Valid {
    const KEY: &str = "database.url";
    // Here, as the library quotes a URL that it cannot read, with the password in it.
    let text = database.url.expose_secret();
    // A SQLite URL has no password, and its path may have any character.
    let url = if text.starts_with("sqlite:") { Url::parse(text).ok() } else { address::parse(text) };
    let unknown = |url: &Url, known| address::known_parameters(url, known).or_else(|why| invalid(KEY, why));
    match url.as_ref().map(|url| (url.scheme(), url)) {
        // Its driver refuses what it does not know.
        Some(("sqlite", _)) => {}
        Some(("mysql", url)) => unknown(url, MYSQL)?,
        Some(("postgres" | "postgresql", url)) => unknown(url, POSTGRES)?,
        _ => {
            let encode = address::ENCODE;
            let why = "expected a URL that begins with sqlite:, mysql: (MySQL and MariaDB) or postgres:";
            return invalid(KEY, format!("{why}; {encode}"));
        }
    }
    number("database.max_connections", database.max_connections, 2..=1_000)
}

fn amqp(amqp: &Amqp) -> Valid {
    amqp.tls_files()?;
    name("amqp.exchange", &amqp.exchange, 255)?;
    // 255, less what the longest name of a queue has more.
    name("amqp.queue", &amqp.queue, 240)?;
    if !amqp.queue.ends_with(EVENTS) || amqp.queue.len() == EVENTS.len() {
        let why = format!("expected a name that ends with {EVENTS}, as the other queues are named after it");
        return invalid("amqp.queue", why);
    }
    // 0 would be no limit at all, to the broker.
    number("amqp.prefetch", amqp.prefetch, 1..=10_000)
}

fn catalog(catalog: &Catalog) -> Valid {
    if catalog.url.query().is_some() {
        return invalid("catalog.url", "expected an http: or https: URL without a query");
    }
    if catalog.token_url.is_some() && (catalog.client_id.is_none() || catalog.client_secret.is_none()) {
        return invalid("catalog.token_url", "needs catalog.client_id and catalog.client_secret too");
    }
    number("catalog.concurrency", catalog.concurrency, 1..=64)?;
    duration("catalog.timeout", catalog.timeout, SECOND / 10..=SECOND * 600)?;
    number("catalog.requests_per_hour", catalog.requests_per_hour, 0..=1_000_000)?;
    // At least room for the fixed part of the query and a few keys of the usual length. A longer key is asked for
    // alone.
    number("catalog.max_url_bytes", catalog.max_url_bytes, 300..=65_536)?;
    number("catalog.max_body_bytes", catalog.max_body_bytes, 64 * 1024..=256 * 1024 * 1024)
}

fn lms(lms: &Lms) -> Valid {
    let url = &lms.root_url;
    let is_web = matches!(url.scheme(), "http" | "https") && url.query().is_none();
    // Learners are shown it.
    if !is_web || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        let why = "expected an http: or https: URL without a query, a user name or a password";
        return invalid("lms.root_url", why);
    }
    Ok(())
}

fn marketing_url(section: &UrlPolicy) -> Valid {
    const KEY: &str = "marketing_url.allowed_hosts";
    if section.allowed_hosts.len() > MAX_HOSTS {
        return invalid(KEY, format!("expected {MAX_HOSTS} hosts at most"));
    }
    for rule in &section.allowed_hosts {
        let host = rule.strip_prefix("*.").unwrap_or(rule);
        match Host::parse(host).ok().filter(|_| host.len() <= 253 && !host.contains('*')) {
            None => {
                let rule: String = rule.chars().take(80).collect();
                let without = if rule.contains("://") { ", without a scheme" } else { "" };
                let why = format!(
                    "{rule:?} is no host; expected names like www.example.org or *.example.org{without}"
                );
                return invalid(KEY, why);
            }
            Some(known) if !known.to_string().eq_ignore_ascii_case(host) => {
                return invalid(KEY, format!("{rule:?} is {known} in a URL: write it so"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn sync(sync: &Sync) -> Valid {
    // No more than one SQL statement takes.
    number("sync.max_batch", sync.max_batch, 1..=500)?;
    duration("sync.min_interval", sync.min_interval, Duration::ZERO..=HOUR)?;
    duration("sync.clear_after", sync.clear_after, Duration::ZERO..=DAY * 30)
}

fn reconcile(reconcile: &Reconcile) -> Valid {
    if let Some(interval) = reconcile.delta_interval {
        duration("reconcile.delta_interval", interval, SECOND..=HOUR * 12)?;
    }
    number("reconcile.max_change_ratio", reconcile.max_change_ratio, 0.0..=1.0)?;
    duration("reconcile.resume_within", reconcile.resume_within, Duration::ZERO..=DAY * 7)
}

fn heal(heal: &Heal) -> Valid {
    heal.interval.map_or(Ok(()), |interval| duration("heal.interval", interval, SECOND..=DAY))
}

fn http(http: &Http) -> Valid {
    if http.grafana_url.as_ref().is_some_and(|url| !url.is_without_login()) {
        return invalid(
            "http.grafana_url",
            "expected a URL without a user name or password: the page shows it",
        );
    }
    if http.anonymous && http.tokens_file.is_some() {
        return invalid(
            "http.anonymous",
            "with http.tokens_file no request is anonymous; leave one of them away",
        );
    }
    match (&http.tls_certificate_file, &http.tls_key_file) {
        (Some(_), None) => invalid("http.tls_certificate_file", "needs http.tls_key_file too"),
        (None, Some(_)) => invalid("http.tls_key_file", "needs http.tls_certificate_file too"),
        _ => Ok(()),
    }
}

fn invalid(key: &str, why: impl std::fmt::Display) -> Valid {
    Err(ConfigError::invalid(key, why))
}

fn number<T: PartialOrd + Display>(key: &'static str, value: T, range: RangeInclusive<T>) -> Valid {
    if range.contains(&value) {
        return Ok(());
    }
    invalid(key, format!("{value} is out of bounds; expected {} to {}", range.start(), range.end()))
}

fn duration(key: &'static str, value: Duration, range: RangeInclusive<Duration>) -> Valid {
    if range.contains(&value) {
        return Ok(());
    }
    let [value, from, to] = [value, *range.start(), *range.end()].map(humantime::format_duration);
    invalid(key, format!("{value} is out of bounds; expected {from} to {to}"))
}

/// 1 to `most` bytes, without control characters.
fn name(key: &'static str, text: &str, most: usize) -> Valid {
    if (1..=most).contains(&text.len()) && !text.contains(char::is_control) {
        return Ok(());
    }
    invalid(key, format!("expected a name of 1 to {most} bytes without control characters"))
}
