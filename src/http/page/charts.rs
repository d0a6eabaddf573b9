//! The last passes as two small bar charts, the newest on the right.

use chrono::TimeDelta;

use super::faults::Level;
use super::format::{number, span};
use crate::status::Pass;

/// Of a chart, in its own units.
pub(super) const WIDTH: f64 = 420.0;
pub(super) const HEIGHT: f64 = 56.0;
/// Bars that a chart has room for.
const BARS: usize = 14;
/// From one bar to the next, and how wide a bar is.
const STEP: f64 = 30.0;
pub(super) const BAR: f64 = 22.0;

/// One chart.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// With the largest value.
    pub(super) caption: String,
    /// The oldest pass first.
    pub(super) bars: Vec<Bar>,
}

/// One pass.
pub(super) struct Bar {
    pub(super) level: Level,
    pub(super) left: f64,
    pub(super) height: f64,
}

/// The charts of these passes, newest first.
pub(super) fn of(passes: &[Pass]) -> [Chart; 2] {
    let changed = |pass: &Pass| (pass.updated + pass.cleared + pass.held_back).max(0);
    let seconds = |pass: &Pass| pass.took().map_or(0, |took| took.num_seconds().max(1));
    [
        chart("Changes", passes, changed, |n| number(n.unsigned_abs())),
        chart("Duration", passes, seconds, |n| span(TimeDelta::seconds(n))),
    ]
}

fn chart(
    title: &'static str,
    passes: &[Pass],
    value: impl Fn(&Pass) -> i64,
    shown: impl Fn(i64) -> String,
) -> Chart {
    let passes = &passes[..passes.len().min(BARS)];
    let most = passes.iter().map(&value).max().unwrap_or_default();
    let bar = |(n, pass): (usize, &Pass)| {
        // A small value is still to be seen.
        let height = match value(pass) {
            0 => 0.0,
            value => (value as f64 / most as f64 * HEIGHT).round().max(2.0),
        };
        let left = STEP * (BARS - passes.len() + n) as f64 + 4.0;
        Bar { level: Level::of_verdict(&pass.verdict), left, height }
    };
    let caption =
        if most == 0 { format!("{title}: none") } else { format!("{title}, at most {}", shown(most)) };
    Chart { title, caption, bars: passes.iter().rev().enumerate().map(bar).collect() }
}

/// How long a pass took, for people.
pub(super) fn took(pass: &Pass) -> String {
    match pass.took() {
        None => "–".to_owned(),
        Some(took) if took.num_seconds() < 1 => "under 1 s".to_owned(),
        Some(took) => span(took),
    }
}

/// What a pass did, each as a number and a word.
pub(super) fn changes(pass: &Pass) -> Vec<String> {
    let counts = [
        (pass.updated, "updated"),
        (pass.cleared, "cleared"),
        (pass.held_back, "held back"),
        (pass.failures, "failures"),
    ];
    let counts = counts.into_iter().filter(|(n, _)| *n > 0);
    counts.map(|(n, what)| format!("{} {what}", number(n.unsigned_abs()))).collect()
}
