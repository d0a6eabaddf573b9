//! Queues, Catalog, broker and database: what the worker depends on; and the marks by which every section tells its
//! state.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};

use super::View;
use super::html::{Moment, Number, Span, Text};
use super::verdict::{Level, refused};
use crate::http::status::{Catalog, Consumer, Delayed, Queues, Status, Told, reads_only};

impl Level {
    /// The class in the style sheet.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Watch => "watch",
            Self::Fine => "fine",
        }
    }

    /// A square, a triangle or a disc, eight units wide: whoever cannot tell the colours tells these.
    pub(super) fn shape(self) -> String {
        let path = match self {
            Self::Wrong => "M0 0H8V8H0Z",
            Self::Watch => "M4 0 8.6 8H-.6Z",
            Self::Fine => "M4 0A4 4 0 1 1 4 8 4 4 0 1 1 4 0Z",
        };
        format!("<path class={} d=\"{path}\" />", self.as_str())
    }
}

/// The shape in front of a word that says the same.
pub(super) fn mark(level: Level) -> String {
    format!("<svg class=mark viewBox=\"-1 -1 10 10\" aria-hidden=true>{}</svg>", level.shape())
}

/// Why something is not known now, and from when what is shown is.
pub(super) fn untold<T>(page: &mut String, told: &Told<T>, what: &str, now: DateTime<Utc>) {
    let Some(why) = told.error() else { return };
    let _ = write!(page, "<p class=note>{}{what}: {}", mark(Level::Wrong), Text(why));
    if let Some(at) = told.as_of() {
        let _ = write!(page, " – shown is what was known at {}", Moment { at, now });
    }
    page.push_str("</p>");
}

/// Queues and dead letters.
pub(super) fn queues(page: &mut String, status: &Status) {
    page.push_str("<section aria-labelledby=queues><h2 id=queues>Queues</h2>");
    if let Some(queues) = status.queues.latest() {
        table(page, queues);
    }
    untold(page, &status.queues, "Not told now", status.at);
    page.push_str("</section>");
}

fn table(page: &mut String, queues: &Queues) {
    page.push_str(
        "<table><caption>Messages that wait</caption><thead><tr><th scope=col>Queue<th scope=col class=number>Messages\
         </thead><tbody>",
    );
    let _ = write!(page, "<tr><th scope=row>Events<td class=number>{}", Number(queues.events));
    let waiting = queues.delayed.iter().filter(|queue| queue.messages > 0);
    let parts: Vec<String> = waiting.clone().map(delayed).collect();
    let _ = write!(
        page,
        "<tr><th scope=row>Delayed<small>{}</small><td class=number>{}",
        parts.join(", "),
        Number(waiting.map(|queue| queue.messages).sum())
    );
    let level = if queues.dead > 0 { Level::Watch } else { Level::Fine };
    let dead = Number(queues.dead);
    let _ =
        write!(page, "<tr><th scope=row>{}Dead letters<td class=number>{dead}</tbody></table>", mark(level));
}

fn delayed(queue: &Delayed) -> String {
    format!("{} for {}", Number(queue.messages), Span(TimeDelta::seconds(queue.seconds.into())))
}

/// What the worker depends on, a line each.
pub(super) fn surroundings(page: &mut String, view: &View, now: DateTime<Utc>) {
    page.push_str("<section aria-labelledby=parts><h2 id=parts>Parts</h2><dl>");
    let (level, text) = match refused(view) {
        Some(why) => (Level::Wrong, Text(&reads_only(why)).to_string()),
        None => answers(&view.database),
    };
    line(page, "Database", level, &text);
    let (level, text) = answers(&view.broker);
    line(page, "Broker", level, &text);
    if let Ok(status) = &view.status {
        let (level, text) = match &status.consumer {
            Consumer::Attached { attached_since } => {
                (Level::Fine, format!("attached, for {}", Span(now - attached_since)))
            }
            Consumer::Detached { detached_since, why } => {
                (Level::Wrong, format!("gone, for {}: {}", Span(now - detached_since), Text(why)))
            }
        };
        line(page, "Consumer", level, &text);
        let (level, text) = gate(&status.catalog, now);
        line(page, "Catalog", level, &text);
        budget(page, &status.catalog);
    }
    let (level, text) = if view.health.is_empty() {
        (Level::Fine, "its jobs turn".to_owned())
    } else {
        (Level::Wrong, Text(&view.health.join("; ")).to_string())
    };
    line(page, "Worker", level, &text);
    page.push_str("</dl></section>");
}

fn answers(word: &str) -> (Level, String) {
    if word == "ok" {
        (Level::Fine, "answers".to_owned())
    } else {
        (Level::Wrong, format!("does not answer: {}", Text(word)))
    }
}

fn gate(catalog: &Catalog, now: DateTime<Utc>) -> (Level, String) {
    let until = catalog.until.map_or(String::new(), |at| format!(" until {}", Moment { at, now }));
    match catalog.state {
        "closed" => (Level::Fine, "breaker closed: requests go through".to_owned()),
        "throttled" => (Level::Watch, format!("throttled{until}")),
        "half_open" => (Level::Watch, "breaker half open: a probe is out".to_owned()),
        _ => (Level::Watch, format!("breaker open{until}, then a probe")),
    }
}

fn budget(page: &mut String, catalog: &Catalog) {
    let Some(spent) = catalog.requests_last_hour else { return };
    let all = u64::from(catalog.requests_per_hour);
    let level = if spent < all { Level::Fine } else { Level::Watch };
    let text = format!("{} of {} requests in the last hour", Number(spent), Number(all));
    line(page, "Budget", level, &text);
}

/// `text` is HTML.
fn line(page: &mut String, label: &str, level: Level, text: &str) {
    let _ = write!(page, "<dt>{label}<dd>{}{text}", mark(level));
}
