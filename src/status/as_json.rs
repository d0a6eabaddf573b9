//! What `explain --output json` and `/api/v1/explain` answer: the explanation of a course's link as one document.

use serde_json::{Value, json};

use super::Explanation;
use crate::config;
use crate::share_link;
use crate::store::{Entry, LetterHead, LinkChange};

impl Explanation {
    /// Everything, by names.
    pub fn document(&self, lms: &config::Lms) -> Value {
        let overview = self.overview.as_ref();
        json!({
            "course_id": self.course.as_str(),
            "shared_link": overview.map(|row| share_link::of(row, lms)),
            "why": self.why(),
            "blank": self.blank.as_ref().map(|blank| json!({
                "since": blank.since,
                "reason": blank.reason.as_str(),
            })),
            "overview": overview.map(|row| json!({
                "marketing_url": row.marketing_url,
                "social_sharing_url": row.social_sharing_url,
            })),
            "ledger": self.entry.as_ref().map(ledger),
            "held_back": self.held.as_ref().map(|held| json!({ "pass": held.pass, "to": held.to })),
            "failed_look_up": self.failure.as_ref().map(|failure| json!({
                "at": failure.at,
                "why": failure.why,
            })),
            "dead_letters": self.dead_letters.iter().map(letter).collect::<Vec<_>>(),
            "history": self.history.iter().map(change).collect::<Vec<_>>(),
        })
    }
}

fn ledger(entry: &Entry) -> Value {
    json!({
        "run_key": entry.run.as_str(),
        "url": entry.url,
        "listed": entry.listed,
        "observed_at": entry.observed_at,
        "observed_by": entry.observed_by.as_str(),
        "changed_at": entry.changed_at,
        "pending_clear_since": entry.pending_clear_since,
        "cleared_at": entry.cleared_at,
        "refused": entry.refused.as_ref().map(|refused| json!({
            "url": refused.what.url,
            "why": refused.what.why,
            "since": refused.since,
        })),
    })
}

fn letter(letter: &LetterHead) -> Value {
    json!({ "id": letter.id, "first_seen": letter.first_seen, "reason": letter.reason })
}

fn change(change: &LinkChange) -> Value {
    json!({
        "at": change.changed_at,
        "by": change.changed_by.as_str(),
        "from": change.old_url,
        "to": change.new_url,
        "trace_id": change.trace_id,
    })
}
