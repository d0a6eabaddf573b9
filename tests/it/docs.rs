//! The documents, held against the program and one another: links lead somewhere, references are complete.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::support::project::{all_metrics, files, read, root};

/// Every document of the project.
fn documents() -> Vec<PathBuf> {
    let folders = [".github", "ops", "tests"].into_iter().flat_map(|folder| files(folder, &["md"]));
    folders.chain([root().join("README.md")]).collect()
}

/// What links to the headings of a document, as GitHub makes it.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        heading.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The first cells of the rows of all tables, without the backticks.
fn first_cells(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .map(|cell| cell.trim_matches('`'))
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.contains(char::is_whitespace) {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let from = document.display();
            assert!(place.exists(), "{from}: {target} does not exist");
            assert!(
                anchor.is_empty() || anchors(&read(&place)).contains(anchor),
                "{from}: no heading {target}"
            );
            links += 1;
        }
    }
    assert!(links > 30, "only {links} links were found: does this test still look in the right place?");
}

#[test]
fn the_reference_lists_every_metric_and_no_other() {
    let shown = all_metrics();
    let known: BTreeSet<&str> =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let reference = read("ops/reference/metrics.md");
    let is_metric = |cell: &&str| cell.contains("_sharing_") || cell.contains("process_");
    let cells = first_cells(&reference).filter(is_metric);
    let names = cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`'));
    let listed: BTreeSet<&str> = names.filter_map(|name| name.split('{').next()).collect();
    assert_eq!(listed, known);
    for outcome in first_cells(&reference).filter(|cell| !is_metric(cell) && !cell.contains("---")) {
        let is_heading = ["metric", "outcome"].contains(&outcome);
        assert!(
            is_heading || shown.contains(&format!("outcome=\"{outcome}\"")),
            "no event ends as {outcome}"
        );
    }
}

#[test]
fn the_reference_lists_every_key_of_the_configuration_and_no_other() {
    let sample = read("ops/course-sharing.toml");
    let mut section = "";
    let mut known = BTreeSet::new();
    for line in sample.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.trim_start_matches(['#', ' ']).split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            known.insert(format!("{section}.{key}"));
        }
    }
    let reference = read("ops/reference/configuration.md");
    let listed = first_cells(&reference).flat_map(|cell| cell.split(", ")).filter(|cell| cell.contains('.'));
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_readme_is_read_in_a_few_minutes() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 120, "{} lines", readme.lines().count());
    assert!(readme.split_whitespace().count() <= 900, "{} words", readme.split_whitespace().count());
}
