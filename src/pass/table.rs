//! The report as people read it: a table, by the words that operators know.

use std::fmt::Write as _;

use super::report::Report;
use crate::model::text::escape;
use crate::store::PassKind;

impl Report {
    /// The report as a table for people.
    pub fn human(&self) -> String {
        let mut out = String::new();
        let dry = if self.dry_run { " (dry run: nothing was written)" } else { "" };
        let kind = if self.kind == PassKind::Light { "light pass" } else { "pass" };
        let _ = writeln!(out, "{kind} {}{dry}", self.verdict.as_str());
        for reason in &self.reasons {
            let _ = writeln!(out, "  {reason}");
        }
        let numbers = self.rows().map(|(title, rows)| {
            let line = |(name, number)| format!("{name:<34} {number:>12}");
            (title.to_owned(), rows.into_iter().map(line).collect())
        });
        for (title, lines) in numbers.into_iter().chain(self.lists()) {
            let _ = writeln!(out, "\n{title}");
            for line in lines {
                let _ = writeln!(out, "  {line}");
            }
        }
        out
    }

    fn rows(&self) -> [(&'static str, Vec<(&'static str, String)>); 4] {
        let n = |n: u64| n.to_string();
        let catalog = vec![
            ("runs at the start", n(self.count_before)),
            ("runs at the end", n(self.count_after)),
            ("found in Catalog", n(self.listed)),
            ("seen twice", n(self.seen_twice)),
            ("custom courses listed", n(self.ccx_listed)),
            ("without overview", n(self.without_overview)),
            ("broken runs", n(self.broken_runs)),
            ("rows of no use", n(self.odd_rows)),
        ];
        let overviews = vec![
            ("in the LMS", n(self.overviews)),
            ("found in overviews (crawl)", n(self.settled_by_crawl)),
            ("found by key", n(self.settled_by_key)),
            ("not found", n(self.not_listed)),
            ("not found, with a link", n(self.unlisted_links)),
            ("custom courses, by their parent", n(self.ccx_by_parent)),
            ("not settled", n(self.unsettled)),
            ("with a refused URL", n(self.refused)),
            ("no course runs", n(self.no_runs)),
        ];
        let changes = vec![
            ("updated", n(self.updated)),
            ("changed in the Catalog", n(self.changed)),
            ("missed by light passes", n(self.missed_by_light)),
            ("missed by hints", n(self.missed_by_hints)),
            ("cleared", n(self.cleared)),
            ("kept as they were", n(self.kept)),
            ("pending clears", n(self.pending)),
            ("held back by the brake", n(self.held_back)),
        ];
        let cost = vec![
            ("requests", n(self.requests)),
            ("pages", n(self.pages)),
            ("failed pages", n(self.failed_pages)),
            ("bytes", n(self.bytes)),
            ("seconds", format!("{:.1}", self.seconds)),
            ("page size", n(u64::from(self.page_size))),
            ("times resumed", n(u64::from(self.resumed))),
        ];
        [("Catalog", catalog), ("Overviews", overviews), ("Changes", changes), ("Cost", cost)]
    }

    /// What is named, as far as there is any, each list with its title.
    fn lists(&self) -> impl Iterator<Item = (String, Vec<String>)> {
        let name = |key: &Option<String>| key.clone().unwrap_or_else(|| "?".to_owned());
        let broken = self.broken.iter().map(|broken| {
            let (after, before) = (name(&broken.after), name(&broken.before));
            format!("position {}, between {after} and {before}: {}", broken.position, broken.error)
        });
        // What stands in the LMS's table may be anything.
        let link = |url: &Option<String>| url.as_deref().map_or_else(|| "none".to_owned(), escape);
        let held =
            self.held.iter().map(|held| format!("{}: {} -> {}", held.key, link(&held.from), link(&held.to)));
        let lists = [
            ("Broken runs".to_owned(), broken.collect()),
            ("Refused URLs".to_owned(), self.refused_urls.clone()),
            ("Rows of no use".to_owned(), self.odd.clone()),
            ("Not settled".to_owned(), self.unsettled_keys.clone()),
            (format!("Held back: {} of {}", self.held.len(), self.held_back), held.collect()),
        ];
        lists.into_iter().filter(|(_, lines): &(String, Vec<String>)| !lines.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Broken;
    use super::*;
    use crate::engine::{Change, Why};

    #[test]
    fn the_table_names_what_is_broken_and_held() {
        let broken = Broken { position: 30, after: Some("a/b/c".to_owned()), ..Broken::default() };
        let held =
            Change { key: "d/e/f".to_owned(), from: None, to: None, why: Why::Cleared, also: Vec::new() };
        let report = Report { broken: vec![broken], held: vec![held], ..Report::default() };
        let human = report.human();
        assert!(human.contains("position 30, between a/b/c and ?"), "{human}");
        assert!(human.contains("Held back: 1 of 0"), "{human}");
    }
}
