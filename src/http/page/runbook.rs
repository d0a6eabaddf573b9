//! `GET /runbook`: the runbook of this version, with an anchor for each heading.

use std::sync::LazyLock;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

const TEXT: &str = include_str!("../../../ops/RUNBOOK.md");

/// As HTML. Its links to other files are texts: those files are not served.
pub(super) static HTML: LazyLock<String> = LazyLock::new(|| {
    let mut events: Vec<Event<'static>> = Parser::new_ext(TEXT, Options::ENABLE_TABLES).collect();
    let mut anchor = None;
    for event in events.iter_mut().rev() {
        match event {
            Event::Text(text) | Event::Code(text) => anchor = Some(anchor_of(text)),
            // The text that was met last is the first one behind it.
            Event::Start(Tag::Heading { id, .. }) => *id = anchor.take().map(CowStr::from),
            _ => {}
        }
    }
    let mut is_file = false;
    events.retain(|event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => {
            is_file = !dest_url.starts_with('#') && !dest_url.starts_with("http");
            !is_file
        }
        Event::End(TagEnd::Link) => !is_file,
        _ => true,
    });
    let mut page = String::new();
    html::push_html(&mut page, events.into_iter());
    page
});

/// The anchor of a heading, as GitHub makes it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_heading_has_its_anchor_and_no_link_leads_nowhere() {
        for line in TEXT.lines().filter_map(|line| line.strip_prefix("## ")) {
            let heading = format!("<h2 id=\"{}\">", anchor_of(line));
            assert!(HTML.contains(&heading), "{heading}");
        }
        assert_eq!(anchor_of("First look"), "first-look");
        for (at, _) in HTML.match_indices("href=\"") {
            let link = HTML[at + 6..].split('"').next().unwrap();
            let anchor = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads elsewhere"));
            assert!(HTML.contains(&format!("id=\"{anchor}\"")), "{link}");
        }
    }
}
