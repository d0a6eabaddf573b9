//! The list of parts on the page: what the worker depends on, a line each.

use chrono::TimeDelta;

use super::Page;
use super::faults::Level;
use super::format::{number, span};
use crate::status::{Catalog, Consumer, Hints, Queues, Status};

/// One line of the list.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) level: Level,
    pub(super) state: String,
}

impl Page {
    pub(super) fn parts(&self) -> Vec<Part> {
        let database = match self.read_only() {
            Some(_) => {
                Part { name: "Database", level: Level::Wrong, state: "reads, does not write".to_owned() }
            }
            None => answers("Database", &self.database),
        };
        let mut parts = vec![database, answers("Broker", &self.broker)];
        if let Ok(status) = &self.status {
            parts.push(consumer(status));
            parts.push(self.catalog(&status.catalog));
            parts.extend(budget(&status.catalog));
            parts.extend(self.hints(status));
        }
        let (level, state) = match &self.overdue[..] {
            [] => (Level::Fine, "all jobs run".to_owned()),
            overdue => (Level::Wrong, overdue.join("; ")),
        };
        parts.push(Part { name: "Worker", level, state });
        parts
    }

    fn catalog(&self, catalog: &Catalog) -> Part {
        let left = catalog.until.map(|at| self.frame.ahead(&at));
        let (more, probe) = match left {
            Some(left) => (format!(" for {left} more"), format!("next probe in {left}")),
            None => (String::new(), "then a probe".to_owned()),
        };
        let (level, state) = match catalog.state {
            "closed" => (Level::Fine, "breaker closed: requests go through".to_owned()),
            "throttled" => (Level::Watch, format!("throttled{more}")),
            "half_open" => (Level::Watch, "breaker half open: a probe is out".to_owned()),
            _ => (Level::Watch, format!("breaker open, {probe}")),
        };
        Part { name: "Catalog", level, state }
    }

    /// Nothing where the Catalog was never asked what has changed.
    fn hints(&self, status: &Status) -> Option<Part> {
        let Hints { position, asked_at, pass_due_since } = status.hints.latest()?.as_ref()?;
        let asked = format!(
            "asked {} ago for changes since {}",
            self.frame.ago(asked_at),
            self.frame.moment(position)
        );
        let (level, state) = match pass_due_since.filter(|since| status.at - since < TimeDelta::hours(1)) {
            Some(_) => (Level::Watch, format!("{asked}; there were too many, which a pass takes")),
            None => (Level::Fine, asked),
        };
        Some(Part { name: "Hints", level, state })
    }
}

fn answers(name: &'static str, word: &str) -> Part {
    if word == "ok" {
        Part { name, level: Level::Fine, state: "answers".to_owned() }
    } else {
        // Why is said above.
        Part { name, level: Level::Wrong, state: "does not answer".to_owned() }
    }
}

fn consumer(status: &Status) -> Part {
    let (level, state) = match &status.consumer {
        Consumer::Attached { attached_since } => {
            (Level::Fine, format!("attached, for {}", span(status.at - attached_since)))
        }
        Consumer::Detached { detached_since, why } => {
            (Level::Wrong, format!("gone, for {}: {why}", span(status.at - detached_since)))
        }
    };
    Part { name: "Consumer", level, state }
}

fn budget(catalog: &Catalog) -> Option<Part> {
    let (spent, all) = (catalog.requests_last_hour?, u64::from(catalog.requests_per_hour));
    let state = format!("{} of {} requests in the last hour", number(spent), number(all));
    Some(Part { name: "Budget", level: Level::fine_if(spent < all), state })
}

/// How many messages wait for how long.
pub(super) fn delays(queues: &Queues) -> String {
    let waiting = queues.delayed.iter().filter(|queue| queue.messages > 0);
    let parts: Vec<String> = waiting
        .map(|queue| {
            let delay = span(TimeDelta::seconds(queue.seconds.into()));
            format!("{} for {delay}", number(queue.messages))
        })
        .collect();
    parts.join(", ")
}
