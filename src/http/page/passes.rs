//! The last passes over the Catalog: a small chart, and the numbers behind it.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};

use super::html::{Moment, Number, Span, Text};
use super::parts::{mark, untold};
use super::verdict::Level;
use crate::http::status::{Pass, Told};

/// Of the chart, in its own units.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 56.0;
/// Bars the chart has room for.
const BARS: usize = 14;

/// The section.
pub(super) fn section(page: &mut String, passes: &Told<Vec<Pass>>, now: DateTime<Utc>) {
    page.push_str("<section aria-labelledby=passes><h2 id=passes>Passes over the Catalog</h2>");
    match passes.latest().map(Vec::as_slice) {
        Some([]) => page.push_str("<p class=soft>None yet.</p>"),
        Some(passes) => {
            page.push_str("<div class=charts>");
            chart(page, "Changes", passes, |pass| changes(pass) as f64, |n| Number(n as u64).to_string());
            let seconds = |pass: &Pass| took(pass).map_or(0.0, |took| took.num_seconds().max(1) as f64);
            chart(page, "Duration", passes, seconds, |n| Span(TimeDelta::seconds(n as i64)).to_string());
            page.push_str("</div>");
            table(page, passes, now);
        }
        None => {}
    }
    untold(page, passes, "Not told now", now);
    page.push_str("</section>");
}

/// A bar a pass, the newest on the right.
fn chart(
    page: &mut String,
    title: &str,
    passes: &[Pass],
    value: impl Fn(&Pass) -> f64,
    shown: impl Fn(f64) -> String,
) {
    let most = passes.iter().map(&value).fold(0.0, f64::max);
    let _ = write!(
        page,
        "<figure><figcaption>{title}, at most {}</figcaption><svg class=chart viewBox=\"0 0 {WIDTH} {}\" role=img \
         aria-label=\"{title} of the last {} passes, the newest on the right; the table has the numbers\">",
        shown(most),
        HEIGHT + 14.0,
        passes.len()
    );
    let step = WIDTH / BARS as f64;
    for (n, pass) in passes.iter().take(BARS).rev().enumerate() {
        let left = step * (BARS - passes.len().min(BARS) + n) as f64;
        let bar = value(pass);
        // Anything but nothing is to be seen.
        let height = if bar > 0.0 { (bar / most * HEIGHT).max(2.0) } else { 0.0 };
        let (level, _) = verdict(pass);
        let _ = write!(
            page,
            "<rect class=\"chart-bar {}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" />\
             <g transform=\"translate({:.1} {:.1})\">{}</g>",
            level.as_str(),
            left + 4.0,
            HEIGHT - height,
            step - 8.0,
            left + step / 2.0 - 4.0,
            HEIGHT + 5.0,
            level.shape(),
        );
    }
    let _ = write!(page, "<path class=chart-base d=\"M0 {HEIGHT}H{WIDTH}\" /></svg></figure>");
}

fn table(page: &mut String, passes: &[Pass], now: DateTime<Utc>) {
    page.push_str(
        "<table><caption>The newest first</caption><thead><tr><th scope=col>Began<th scope=col>Verdict\
         <th scope=col>Changes<th scope=col class=number>Took</thead><tbody>",
    );
    for pass in passes {
        let (level, word) = verdict(pass);
        let parts = [
            (pass.updated, "updated"),
            (pass.cleared, "cleared"),
            (pass.held_back, "held back"),
            (pass.failures, "failures"),
        ];
        let changes: Vec<String> = parts
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("<span class=part>{} {what}</span>", Number(n.unsigned_abs())))
            .collect();
        let _ = write!(
            page,
            "<tr><th scope=row>{}<td class=nowrap>{}{}<td>{}<td class=number>{}",
            Moment { at: pass.started_at, now },
            mark(level),
            Text(word),
            if changes.is_empty() { "<span class=soft>none</span>".to_owned() } else { changes.join(", ") },
            took(pass).map_or("–".to_owned(), |took| Span(took).to_string()),
        );
    }
    page.push_str("</tbody></table>");
}

fn changes(pass: &Pass) -> i64 {
    (pass.updated + pass.cleared + pass.held_back).max(0)
}

fn took(pass: &Pass) -> Option<TimeDelta> {
    Some(pass.finished_at? - pass.started_at)
}

fn verdict(pass: &Pass) -> (Level, &str) {
    let level = match pass.verdict.as_str() {
        "complete" => Level::Fine,
        "running" | "incomplete" => Level::Watch,
        _ => Level::Wrong,
    };
    (level, &pass.verdict)
}
