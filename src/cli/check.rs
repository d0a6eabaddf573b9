//! `check`: one line for each part, with what to do about each failure.

use chrono::TimeDelta;
use console::{Color, style};
use migration::restore_trigger::State;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::context::{Context, Output};
use super::exit::Exit;
use super::output;
use crate::broker::{Broker, BrokerError, Role, Topology};
use crate::catalog::{CatalogError, Client, Page, Purpose};
use crate::config::{Config, without_password};
use crate::http::Protection;
use crate::model::course_key::CourseKey;
use crate::model::text::{counted, escape};
use crate::pass::FEW;
use crate::status::read_only;
use crate::store::{Rights, SchemaProblem, Store, StoreError, needs};
use crate::telemetry::report;

/// As far as two clocks may be apart for hints, which ask again for what is not older than that.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(4);
/// Unneeded rights that are named.
const SHOWN: usize = 6;

pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let configuration = configuration(&context.config);
    if context.output == Output::Human {
        line("configuration", &configuration)?;
    }
    let (database, broker, (token, catalog)) =
        tokio::join!(database(context, Tables::MustBeThere), broker(context), catalog(context));
    let checks = [
        ("configuration", configuration),
        ("database", database),
        ("broker", broker.into()),
        ("token", token),
        ("catalog", catalog),
    ];
    match context.output {
        Output::Human => checks[1..].iter().try_for_each(|(part, found)| line(part, found))?,
        Output::Json => output::json(&json!({ "checks": document(&checks) }))?,
    }
    let failed = checks.iter().any(|(_, found)| matches!(found, Found::Wrong(_)));
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Without a valid configuration no command runs; but the files that it names for the port are the worker's alone.
fn configuration(config: &Config) -> Found {
    match Protection::read(&config.http) {
        Err(error) => Found::Wrong(report(&error)),
        Ok(protection) => match protection.doubt() {
            Some(why) => Found::Doubtful(why.to_owned()),
            None => Found::Well("valid".to_owned()),
        },
    }
}

/// Whether a database without this program's tables is in order: before the first migration it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    MustBeThere,
    MayBeMissing,
}

/// The state of a part, in words.
pub(super) enum Found {
    Well(String),
    /// It works, but something should be looked at.
    Doubtful(String),
    Wrong(String),
    /// It could not be checked, because another part fails.
    Unseen(String),
}

impl From<Result<String, String>> for Found {
    fn from(found: Result<String, String>) -> Self {
        found.map_or_else(Self::Wrong, Self::Well)
    }
}

impl Found {
    /// Its word for people, its colour, its word for programs, and its text.
    fn words(&self) -> (&'static str, Color, &'static str, &str) {
        match self {
            Self::Well(text) => ("ok  ", Color::Green, "ok", text),
            Self::Doubtful(text) => ("warn", Color::Yellow, "warn", text),
            Self::Wrong(text) => ("FAIL", Color::Red, "fail", text),
            Self::Unseen(text) => ("--  ", Color::White, "unchecked", text),
        }
    }
}

/// What was found, for programs.
pub(super) fn document(checks: &[(&str, Found)]) -> Vec<Value> {
    let one = |(part, found): &(&str, Found)| {
        let (_, _, state, text) = found.words();
        json!({ "part": part, "state": state, "text": text })
    };
    checks.iter().map(one).collect()
}

pub(super) fn line(part: &str, found: &Found) -> anyhow::Result<()> {
    let (word, colour, _, text) = found.words();
    output::print(&format!("{}  {part:<13}  {}\n", style(word).fg(colour), escape(text)))
}

pub(super) async fn database(context: &Context, tables: Tables) -> Found {
    let looked = async {
        let store = Store::connect(&context.config.database).await.map_err(|error| unconnected(&error))?;
        let store = store.with_also(&context.config.sync.also);
        let rights = store.rights(&needs(&context.config)).await.map_err(|error| report(&error))?;
        let schema = store.check_schema().await;
        if let Err(SchemaProblem::NoColumn(_) | SchemaProblem::NoTable(_) | SchemaProblem::Denied(_)) =
            &schema
            && tables == Tables::MayBeMissing
        {
            return Ok(None);
        }
        let refused = match &schema {
            Ok(()) | Err(SchemaProblem::Denied(_)) => true,
            // A schema that the user may not use looks empty.
            Err(_) => rights.shut,
        };
        if let Some(lacking) = rights.lacking().filter(|_| refused) {
            let absent = if schema.is_err() {
                "; if a table is missing, run course-sharing migrate first"
            } else {
                ""
            };
            return Err(format!("{lacking}{absent}"));
        }
        if let Some(why) = &rights.refused {
            return Err(read_only(why));
        }
        schema.map_err(|error| report(&error))?;
        let counts = store.counts().await.map_err(|error| report(&error))?;
        let url = without_password(context.config.database.url.expose_secret());
        let trigger = store.restore_trigger().await.map_err(|error| report(&error))?;
        let linked = counted(counts.linked.unsigned_abs(), "overview");
        let text = format!("{url}: {linked} with a link, {} without", counts.blank);
        Ok(Some((text, trigger, rights)))
    };
    match looked.await {
        Ok(Some((text, trigger, rights))) => well(text, trigger, &rights),
        Ok(None) => {
            let url = without_password(context.config.database.url.expose_secret());
            Found::Well(format!("{url}: it answers; this program's tables come with course-sharing migrate"))
        }
        Err(wrong) => Found::Wrong(wrong),
    }
}

/// A database that works: its restore trigger, and what should be looked at.
fn well(text: String, trigger: State, rights: &Rights) -> Found {
    let mut doubts = Vec::new();
    if !rights.beyond.is_empty() {
        doubts.push(format!(
            "the user {} has rights that this program does not need: {}; ops/ROLLOUT.md lists those it needs",
            rights.user.name,
            some(&rights.beyond, "; "),
        ));
    }
    let text = match trigger {
        State::Wrong(why) => {
            doubts.push(why);
            text
        }
        trigger => format!("{text}; {trigger}"),
    };
    if doubts.is_empty() {
        Found::Well(text)
    } else {
        Found::Doubtful(format!("{text}; but {}", doubts.join("; and ")))
    }
}

fn unconnected(error: &StoreError) -> String {
    let hint = "is it up, and are database.url's host, user and password right?";
    let right = "and may the user connect to it (GRANT CONNECT ON DATABASE …, see ops/ROLLOUT.md)?";
    let refused = report(error).contains("permission denied for database");
    format!("{}; {}", report(error), if refused { right } else { hint })
}

/// The first few of a list that may be long.
fn some(all: &[String], between: &str) -> String {
    let more = all.len().saturating_sub(SHOWN);
    let shown = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(between);
    if more == 0 { shown } else { format!("{shown}{between}and {more} more") }
}

pub(super) async fn broker(context: &Context) -> Result<String, String> {
    let amqp = &context.config.amqp;
    let looked = async {
        let broker = Broker::new(amqp)?;
        let connection = broker.open(Role::Operator).await?;
        let topology = Topology::new(amqp);
        // A check declares nothing.
        let counts = match topology.verify(&connection).await {
            Ok(()) => Some(topology.counts(&connection).await?),
            Err(BrokerError::Missing { .. }) if amqp.declare => None,
            Err(error) => return Err(error),
        };
        connection.close().await;
        Ok::<_, BrokerError>((broker.address().to_owned(), counts))
    };
    let (address, counts) = looked.await.map_err(|error| report(&error))?;
    Ok(match counts {
        Some(counts) => {
            let delayed: u32 = counts.delayed.iter().map(|(_, n)| n).sum();
            format!(
                "{address}: {} waiting, {delayed} delayed, {}",
                counted(counts.events.into(), "event"),
                counted(counts.dead.into(), "dead letter")
            )
        }
        None => {
            format!("{address}: its queues are not there yet; the worker declares them when it starts")
        }
    })
}

/// Token and Catalog are two hosts that can be down; one request needs both.
pub(super) async fn catalog(context: &Context) -> (Found, Found) {
    let settings = &context.config.catalog;
    let token = match &settings.token_url {
        Some(url) => Found::Well(format!("{url} issues one")),
        None => Found::Well("not needed (catalog.token_url is not set)".to_owned()),
    };
    let unasked = || Found::Unseen("not checked, as there is no token".to_owned());
    let catalog = match context.catalog() {
        Ok(catalog) => catalog,
        Err(error) => {
            let unasked = Found::Unseen("not checked, as there is no client for it".to_owned());
            return (unasked, Found::Wrong(format!("{error:#}")));
        }
    };
    match catalog.probe().await {
        Ok(Page { count, clock_ahead, .. }) => {
            let hint = if count == 0 { ": is this the right partner's host?" } else { "" };
            let text = format!("{}: {} listed{hint}", settings.url, counted(count, "run"));
            let doubts: Vec<String> =
                doubt(context, &catalog).await.into_iter().chain(clocks(clock_ahead)).collect();
            let found = if doubts.is_empty() {
                Found::Well(text)
            } else {
                Found::Doubtful(format!("{text}; {}", doubts.join("; and ")))
            };
            (token, found)
        }
        Err(error @ CatalogError::Token { .. }) => (Found::Wrong(report(&error)), unasked()),
        Err(error) => (token, Found::Wrong(report(&error))),
    }
}

/// What is wrong with the Catalog's clock, if it is too far from ours.
fn clocks(ahead: Option<TimeDelta>) -> Option<String> {
    let ahead = ahead.filter(|ahead| ahead.abs() > CLOCKS_DIFFER)?;
    let way = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
    Some(format!(
        "its clock is {} {way} this machine's: hints go by its clock and may miss changes, and tokens may be refused. Set \
         the one that is wrong (timedatectl shows whether it is synchronized)",
        counted(ahead.num_minutes().unsigned_abs(), "minute")
    ))
}

/// Runs on the page that is compared with the LMS.
const PAGE: u32 = 100;

/// Whether the Catalog's list belongs to this LMS. The Catalog picks the partner by the host of the request; an unknown host
/// gets another partner's list, without an error. Returns what is strange about the first page of the list. Nothing if database or Catalog do not answer, as `check` has other
/// lines for that.
async fn doubt(context: &Context, catalog: &Client) -> Option<String> {
    let store = Store::connect(&context.config.database).await.ok()?;
    let linked = store.counts().await.ok()?.linked.unsigned_abs();
    if linked < FEW {
        return None;
    }
    let page = catalog.page(0, PAGE, Purpose::Command).await.ok()?;
    let keys: Vec<CourseKey> = page.rows.into_iter().filter_map(|run| run.key.ok()).collect();
    let known = store.overviews(&keys).await.ok()?.len();
    is_strange(keys.len(), known, linked).then(|| {
        format!(
            "the LMS has {known} of the first {} runs on the list, and {linked} courses with a link: the host in \
             catalog.url may reach another partner's list. Compare course-sharing reconcile --dry-run, and set \
             catalog.url to the site's public host name",
            keys.len()
        )
    })
}

/// Whether the LMS knows hardly any of the runs, though it has links to compare with.
fn is_strange(shown: usize, known: usize, linked: u64) -> bool {
    linked >= FEW && shown > 0 && known.saturating_mul(10) < shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_minutes_apart_are_named() {
        let said = |seconds| clocks(Some(TimeDelta::seconds(seconds)));
        assert_eq!((clocks(None), said(240), said(-240)), (None, None, None));
        assert!(said(-3_600).unwrap().starts_with("its clock is 60 minutes behind this machine's"));
        assert!(said(241).unwrap().contains("4 minutes ahead of"));
    }

    #[test]
    fn a_page_with_hardly_any_known_run_is_strange_where_there_are_links() {
        for (shown, known, linked, strange) in [
            (5, 0, 3370, true),
            (100, 9, 3370, true),
            (100, 10, 3370, false),
            (5, 1, 3370, false),
            (0, 0, 3370, false),
            (100, 0, 9, false),
            (100, 0, 0, false),
        ] {
            assert_eq!(is_strange(shown, known, linked), strange, "{shown} {known} {linked}");
        }
    }
}
