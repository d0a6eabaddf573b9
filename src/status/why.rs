//! The one sentence of `explain`: why a course's link is as it is, and what happens next. Pure.

use super::explain::{Explanation, Held, instant};
use crate::store::{Entry, Failure};

impl Explanation {
    /// Why the link is as it is and what happens next, in one sentence.
    pub fn why(&self) -> String {
        let in_force = self.entry.as_ref().and_then(Entry::in_force);
        let Some(overview) = &self.overview else { return without_an_overview(in_force).to_owned() };
        let link = overview.marketing_url.as_deref();
        let Some(entry) = &self.entry else { return self.without_an_answer(link) };
        match &self.held {
            Some(held) if held.to.as_deref() != in_force => held_back(held),
            _ if entry.refused.is_some() => with_a_refused_url(link, in_force).to_owned(),
            _ => with_an_answer(link, entry),
        }
    }

    /// The sentence for a course without a row in the ledger.
    fn without_an_answer(&self, link: Option<&str>) -> String {
        if let Some(Failure { at, why }) = &self.failure {
            return format!("the Catalog was asked at {} and could not say: {why}", instant(*at));
        }
        match link {
            Some(_) => "the link was there before this program; the Catalog has not been asked yet".into(),
            None => {
                "the Catalog has not been asked yet; the next pass asks it, or run course-sharing sync".into()
            }
        }
    }
}

fn without_an_overview(in_force: Option<&str>) -> &'static str {
    match in_force {
        Some(_) => "the LMS has no overview of the course yet; its URL is kept, and is set once there is one",
        None => "the LMS has no overview of the course",
    }
}

fn held_back(Held { pass, to }: &Held) -> String {
    let change = to.as_deref().map_or("clearing it".to_owned(), |url| format!("changing it to {url}"));
    format!(
        "the brake of pass {pass} holds back {change}; course-sharing reconcile --allow-mass-change lets it through"
    )
}

/// The sentence for a course with a row in the ledger, where nothing is held back or refused.
fn with_an_answer(link: Option<&str>, entry: &Entry) -> String {
    match (link, entry.in_force()) {
        (Some(link), Some(url)) if link == url && entry.listed => match entry.pending_clear_since {
            Some(since) => format!(
                "the Catalog has listed the run without a page since {}; if it says the same for sync.clear_after, the \
                 link is cleared",
                instant(since)
            ),
            None => "it is the URL that the Catalog last listed".into(),
        },
        (Some(link), Some(url)) if link == url => {
            "the Catalog no longer lists the run; the last URL known is kept (reconcile.absent)".into()
        }
        (_, Some(_)) => "it differs from the last URL known, which the next heal restores".into(),
        (Some(_), None) if entry.cleared_at.is_some() => {
            "the Catalog said twice that the run has no page; the link came back after that, and the next look-up or \
             full pass clears it"
                .into()
        }
        (Some(_), None) => {
            "the Catalog has no URL for the run; the link is not from this program, and is kept".into()
        }
        (None, None) if entry.cleared_at.is_some() => "the Catalog said twice that the run has no page".into(),
        (None, None) if entry.listed => "the Catalog lists the run without a page".into(),
        (None, None) => "the Catalog does not list the run (yet)".into(),
    }
}

/// The sentence where the Catalog lists a URL that is refused; the reason has a line of its own.
fn with_a_refused_url(link: Option<&str>, in_force: Option<&str>) -> &'static str {
    match in_force {
        Some(url) if link == Some(url) => {
            "the Catalog now lists a URL that is refused; the last good one stays until the URL is corrected in the \
             Catalog"
        }
        Some(_) => {
            "it differs from the last good URL, which the next heal restores; the Catalog now lists one that is refused"
        }
        None => {
            "the Catalog lists a URL that is refused; correct it in the Catalog, then run course-sharing sync"
        }
    }
}
