//! The label values each metric is known to take; all are there from the start, at 0, so that a rate over the
//! first event is not lost and an alert can name a series that nothing has touched yet.

use entity::pass::Verdict;
use strum::VariantArray;

/// `type` of `course_sharing_events_total`.
pub(super) const EVENT_TYPES: [&str; 4] = ["course-publish", "overview-recreated", "hint", "unknown"];

/// `outcome` of `course_sharing_events_total`.
pub(super) const EVENT_OUTCOMES: [&str; 14] = [
    "applied",
    "unchanged",
    "coalesced",
    "no_page",
    "refused",
    "not_listed",
    "no_overview",
    "superseded",
    "changed_since",
    "ignored",
    "parked",
    "dead_lettered",
    "dropped",
    "expired",
];

/// `state` of `course_sharing_overviews`.
pub(super) const LINKED: &str = "linked";
/// `state` of `course_sharing_overviews`.
pub(super) const BLANK: &str = "blank";

/// `verdict` of `course_sharing_reconcile_last_verdict`: how a pass can have ended.
pub(super) fn verdicts() -> impl Iterator<Item = &'static str> {
    let ended = Verdict::VARIANTS.iter().filter(|verdict| **verdict != Verdict::Running);
    ended.map(|verdict| verdict.as_str())
}

/// `source` of `course_sharing_event_to_write_seconds`: by what a change got into its row.
pub(super) const SOURCES: [&str; 5] = ["event", "hint", "light", "full", "heal"];

/// `cause` of `course_sharing_healed_total`.
pub(super) const HEAL_CAUSES: [&str; 2] = ["restore", "heal"];

/// `table` of `course_sharing_pruned_total`.
pub(super) const PRUNED_TABLES: [&str; 2] = ["ledger", "reconcile"];

/// `queue` of `course_sharing_queue_messages`.
pub(super) const QUEUES: [&str; 3] = ["events", "delay", "dead"];

/// `by` of `course_sharing_missed`.
pub(super) const MISSED_BY: [&str; 2] = ["hints", "light"];

/// `state` of `course_sharing_catalog_breaker`; closed is how it starts.
pub(super) const BREAKER_STATES: [&str; 3] = ["closed", "open", "half_open"];

/// `kind` of `course_sharing_reconcile_changes`.
pub(super) const RECONCILE_KINDS: [&str; 6] =
    ["updated", "cleared", "kept", "held_back", "not_listed", "pending"];

/// `outcome` of `course_sharing_catalog_requests_total`.
pub(super) const CATALOG_OUTCOMES: [&str; 9] = [
    "ok",
    "client_error",
    "server_error",
    "shut",
    "throttled",
    "timeout",
    "unauthorized",
    "unreachable",
    "unreadable",
];
