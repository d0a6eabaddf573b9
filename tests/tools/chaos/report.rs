//! What is printed: a line for each scenario, its demands, and what was found.

use std::time::{Duration, Instant};

use crate::scenarios::{self, Scenario, Size};
use crate::stage::{Place, Servers};

/// Something that a scenario demands beside "lost 0, wrong 0".
#[derive(Debug)]
pub(crate) struct Demand {
    what: &'static str,
    measured: String,
    held: bool,
}

impl Demand {
    /// A demand, what was measured, and whether it held.
    pub(crate) fn new(what: &'static str, measured: impl Into<String>, held: bool) -> Self {
        Self { what, measured: measured.into(), held }
    }

    /// Whether it held.
    pub(crate) fn held(&self) -> bool {
        self.held
    }

    /// That a time is at most `limit`.
    pub(crate) fn within(what: &'static str, measured: Duration, limit: Duration) -> Self {
        Self::new(what, format!("{measured:.1?}, at most {limit:?} wanted"), measured <= limit)
    }
}

/// The heading above the lines.
pub(crate) fn heading() -> String {
    format!(
        "{:<22} {:>9} {:>7} {:>6} {:>4} {:>4} {:>5} {:>17} {:>13}  {:>7}",
        "scenario",
        "published",
        "applied",
        "parked",
        "dead",
        "lost",
        "wrong",
        "duplicated writes",
        "longest blank",
        "took"
    )
}

/// A scenario that was played, with whatever came of it.
pub(crate) struct Played {
    /// Its name.
    pub(crate) name: &'static str,
    what: &'static str,
    result: scenarios::Result,
    notes: Vec<String>,
    took: Duration,
}

impl Played {
    /// Plays one; how long it took includes waiting for a server that another one harms.
    pub(crate) async fn play(
        scenario: &'static Scenario,
        size: Size,
        seed: u64,
        servers: &Servers,
        place: &Place,
    ) -> Self {
        let since = Instant::now();
        let mut notes = Vec::new();
        let result = scenario.play(size, seed, servers, place, &mut notes).await;
        Self::new(scenario.name, scenario.what, result, notes, since.elapsed())
    }

    /// Something else that was played.
    pub(crate) fn new(
        name: &'static str,
        what: &'static str,
        result: scenarios::Result,
        notes: Vec<String>,
        took: Duration,
    ) -> Self {
        Self { name, what, result, notes, took }
    }

    /// Whether nothing is lost, nothing wrong, and every demand held.
    pub(crate) fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(|(verdict, demands)| {
            verdict.lost == 0 && verdict.wrong == 0 && demands.iter().all(Demand::held)
        })
    }

    /// Its line in the table.
    pub(crate) fn line(&self) -> String {
        let (verdict, _) = match &self.result {
            Ok(result) => result,
            Err(_) => return format!("{:<22} could not be played to its end", self.name),
        };
        format!(
            "{:<22} {:>9} {:>7} {:>6} {:>4} {:>4} {:>5} {:>17} {:>13}  {:>6.0}s",
            self.name,
            verdict.published,
            verdict.applied,
            verdict.parked,
            verdict.dead,
            verdict.lost,
            verdict.wrong,
            verdict.duplicated,
            format!("{:.2}s", verdict.longest_blank.as_secs_f64()),
            self.took.as_secs_f64()
        )
    }

    /// Prints everything there is to say.
    pub(crate) fn print(&self) {
        println!("\n{}: {}", self.name, self.what);
        for note in &self.notes {
            println!("    {note}");
        }
        match &self.result {
            Ok((verdict, demands)) => {
                for demand in demands {
                    let mark = if demand.held { "ok " } else { "NOT" };
                    println!("    {mark} {}: {}", demand.what, demand.measured);
                }
                for finding in &verdict.findings {
                    println!("    !!! {finding}");
                }
            }
            Err(error) => println!("    !!! {error:#}"),
        }
        println!("{}\n{}", heading(), self.line());
    }
}
