//! The links: how many there are, why the others are blank, which those are, and which the Catalog has wrong.

use std::fmt::Write;

use url::form_urlencoded::byte_serialize;

use super::html::{Id, Moment, Number, Span, Text, plural};
use super::parts::{mark, untold};
use super::verdict::{Level, label};
use crate::http::status::{Blanks, Overviews, Refused, Status, Told};

/// Numbers and reasons.
pub(super) fn summary(page: &mut String, status: &Status) {
    page.push_str("<section aria-labelledby=links><h2 id=links>Links</h2>");
    if let Some(overviews) = status.overviews.latest() {
        share(page, overviews);
    }
    untold(page, &status.overviews, "Not counted now", status.at);
    if let Some(blanks) = status.blank.latest() {
        reasons(page, blanks, status);
    }
    untold(page, &status.blank, "Blank links not told now", status.at);
    page.push_str("</section>");
}

fn share(page: &mut String, overviews: &Overviews) {
    let (linked, blank) = (overviews.linked, overviews.blank);
    let all = (linked + blank).max(1);
    let part = |n: u64| n as f64 * 100.0 / all as f64;
    let _ = write!(
        page,
        "<p class=share><span><b>{}</b> linked</span> <span><b>{}</b> blank</span></p>\
         <svg class=bar viewBox=\"0 0 100 1\" preserveAspectRatio=none aria-hidden=true>\
         <rect class=bar-linked width=\"{:.2}\" height=1 /><rect class=bar-blank x=\"{:.2}\" width=\"{:.2}\" height=1 /></svg>",
        Number(linked),
        Number(blank),
        part(linked),
        part(linked),
        part(blank)
    );
}

fn reasons(page: &mut String, blanks: &Blanks, status: &Status) {
    let mut there: Vec<_> = blanks.reasons.iter().filter(|(_, count)| count.overviews > 0).collect();
    if there.is_empty() {
        page.push_str("<p class=soft>No overview is noted as blank.</p>");
        return;
    }
    there.sort_by_key(|(_, count)| (count.right, std::cmp::Reverse(count.overviews)));
    page.push_str(
        "<table><caption>Blank by reason</caption><thead><tr><th scope=col>Reason<th scope=col class=number>Courses\
         <th scope=col class=number>Oldest</thead><tbody>",
    );
    for (word, count) in there {
        let level = if count.right { Level::Fine } else { Level::Watch };
        let note = if count.right { ". This is as it should be." } else { "." };
        let _ = write!(
            page,
            "<tr><th scope=row>{}{}<small>{}{note}</small><td class=number>{}<td class=number>{}",
            mark(level),
            Text(&label(word)),
            Text(count.explained),
            Number(count.overviews),
            count.oldest_since.map_or("–".to_owned(), |since| Span(status.at - since).to_string()),
        );
    }
    page.push_str("</tbody></table>");
}

/// The blank ones themselves.
pub(super) fn blank(page: &mut String, blanks: &Told<Blanks>, now: chrono::DateTime<chrono::Utc>) {
    let Some(blanks) = blanks.latest().filter(|blanks| !blanks.oldest.is_empty()) else { return };
    let all: u64 = blanks.reasons.values().map(|count| count.overviews).sum();
    let shown = blanks.oldest.len() as u64;
    page.push_str("<section aria-labelledby=blank><h2 id=blank>Blank links</h2><table><caption>");
    if shown < all {
        let _ = write!(page, "The first {} of {}: ", Number(shown), Number(all));
    } else {
        let _ = write!(page, "{} {}: ", Number(all), plural(all, "course", "courses"));
    }
    page.push_str(
        "those that should not be blank first, the oldest first</caption>\
         <thead><tr><th scope=col>Course<th scope=col>Blank since<th scope=col>Why</thead><tbody>",
    );
    for blank in &blanks.oldest {
        let right = blanks.reasons.get(blank.reason).is_some_and(|count| count.right);
        course(page, &blank.course_id);
        let _ = write!(
            page,
            "<td>{}<small>{}</small><td>{}{}",
            Moment { at: blank.since, now },
            Span(now - blank.since),
            mark(if right { Level::Fine } else { Level::Watch }),
            Text(&label(blank.reason)),
        );
    }
    page.push_str("</tbody></table></section>");
}

/// The courses whose URL in the Catalog is refused, with what is wrong with it.
pub(super) fn refused(page: &mut String, refused: &Told<Refused>, now: chrono::DateTime<chrono::Utc>) {
    let Some(refused) = refused.latest().filter(|refused| refused.overviews > 0) else { return };
    let (all, shown) = (refused.overviews, refused.oldest.len() as u64);
    page.push_str("<section aria-labelledby=refused><h2 id=refused>Refused URLs</h2><table><caption>");
    if shown < all {
        let _ = write!(page, "The oldest {} of {}: ", Number(shown), Number(all));
    }
    page.push_str(
        "The Catalog lists these URLs, which must not be shared. A link that was there before stays. Mend them in the \
         Catalog.</caption><thead><tr><th scope=col>Course<th scope=col>Since<th scope=col>URL and why</thead><tbody>",
    );
    for found in &refused.oldest {
        course(page, &found.course_id);
        let _ = write!(
            page,
            "<td>{}<small>{}</small><td class=id>{}<small>{}</small>",
            Moment { at: found.since, now },
            Span(now - found.since),
            Id(&found.url),
            Text(&found.why),
        );
    }
    page.push_str("</tbody></table></section>");
}

/// The first cell of a row about a course: its id, which leads to what is known of it.
fn course(page: &mut String, id: &str) {
    let query: String = byte_serialize(id.as_bytes()).collect();
    let _ = write!(page, "<tr><th scope=row class=id><a href=\"?course={}\">{}</a>", Text(&query), Id(id));
}
