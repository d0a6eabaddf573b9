//! What a bench says at its end: figures, each beside its floor and its target where it has them.

use std::fmt::Write as _;
use std::time::Duration;

/// One bench's figures.
pub(crate) struct Report {
    title: String,
    rows: Vec<Row>,
    /// What came out wrong; a fast bench with wrong rows is worth nothing.
    wrong: Vec<String>,
    /// By which of several runs the best is found: lower is better.
    score: f64,
}

struct Row {
    what: String,
    value: String,
    target: Option<(String, bool)>,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new(), wrong: Vec::new(), score: 0.0 }
    }

    /// A figure that is only told.
    pub(crate) fn tell(&mut self, what: impl Into<String>, value: impl Into<String>) {
        self.rows.push(Row { what: what.into(), value: value.into(), target: None });
    }

    /// A figure with a target, and whether it is met.
    pub(crate) fn judge(
        &mut self,
        what: impl Into<String>,
        value: impl Into<String>,
        target: impl Into<String>,
        met: bool,
    ) {
        let target = Some((target.into(), met));
        self.rows.push(Row { what: what.into(), value: value.into(), target });
    }

    /// The end state is not what it has to be.
    pub(crate) fn wrong(&mut self, why: impl Into<String>) {
        self.wrong.push(why.into());
    }

    /// Says by what the best of several runs is chosen; lower is better.
    pub(crate) fn scored(mut self, score: f64) -> Self {
        self.score = score;
        self
    }

    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    pub(crate) fn score(&self) -> f64 {
        self.score
    }

    /// For the screen.
    pub(crate) fn text(&self) -> String {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let mut text = format!("\n{}\n", self.title);
        for row in &self.rows {
            let _ = write!(text, "  {:width$}  {}", row.what, row.value);
            if let Some((target, met)) = &row.target {
                let _ = write!(text, "   [{}: {target}]", if *met { "met" } else { "MISSED" });
            }
            text.push('\n');
        }
        for why in &self.wrong {
            let _ = writeln!(text, "  WRONG: {why}");
        }
        text
    }

    /// For the file of results.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n| figure | measured | to reach |\n|---|---|---|\n", self.title);
        for row in &self.rows {
            let target = row.target.as_ref().map_or_else(String::new, |(target, met)| {
                if *met { target.clone() } else { format!("**missed:** {target}") }
            });
            let _ = writeln!(text, "| {} | {} | {target} |", row.what, row.value);
        }
        for why in &self.wrong {
            let _ = writeln!(text, "\n**Wrong:** {why}");
        }
        text
    }
}

/// Times of single things, to be read at percentiles.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that `percent` of all keep to; zero if there is none.
    pub(crate) fn at(&self, percent: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let place = (last as f64 * percent / 100.0).round() as usize;
        self.0.get(place.min(last)).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.at(50.0)
    }

    /// Median, p90, p99 and the longest, in one line.
    pub(crate) fn line(&self) -> String {
        let [p50, p90, p99, max] = [50.0, 90.0, 99.0, 100.0].map(|percent| ms(self.at(percent)));
        format!("median {p50}, p90 {p90}, p99 {p99}, longest {max}")
    }
}

/// In milliseconds, for the eye.
pub(crate) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 1.0 { format!("{ms:.2} ms") } else { format!("{ms:.1} ms") }
}

/// So many in that time, a second.
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// In MiB, for the eye.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0)
}
