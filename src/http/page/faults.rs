//! The faults that the page knows, each with what it does to links, what to do, and its heading in the runbook.

use std::borrow::Borrow;

/// How bad it is. Each level has a colour and a shape, for readers who cannot tell the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Somebody has to act.
    Wrong,
    /// It may recover, or can wait.
    Watch,
    /// Nothing is wrong.
    Fine,
}

impl Level {
    /// The class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Watch => "watch",
            Self::Fine => "fine",
        }
    }

    /// A square, a triangle or a disc, eight units wide, as the path of an SVG.
    pub(super) fn shape(self) -> &'static str {
        match self {
            Self::Wrong => "M0 0H8V8H0Z",
            Self::Watch => "M4 0 8.6 8H-.6Z",
            Self::Fine => "M4 0A4 4 0 1 1 4 8 4 4 0 1 1 4 0Z",
        }
    }

    /// For what should be so, or should be looked at.
    pub(super) fn fine_if(fine: impl Borrow<bool>) -> Self {
        if *fine.borrow() { Self::Fine } else { Self::Watch }
    }

    /// Of a pass with this verdict.
    pub(super) fn of_verdict(verdict: &str) -> Self {
        match verdict {
            "complete" => Self::Fine,
            "running" | "incomplete" => Self::Watch,
            _ => Self::Wrong,
        }
    }
}

/// A kind of fault. The order is that of the page: what is out comes before what follows from it, however many courses
/// that concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::VariantArray)]
pub(super) enum Fault {
    DatabaseDown,
    DatabaseReadOnly,
    StatusUnknown,
    JobHangs,
    BrokerDown,
    ConsumerGone,
    CatalogFails,
    NotRestored,
    BrakeApplied,
    BlankTooLong,
    PassOverdue,
    Backlog,
    Throttled,
    Blank,
    NoPassYet,
    RefusedUrls,
    DeadLetters,
    HintsLate,
    PassIncomplete,
    PartUnread,
}

impl Fault {
    /// How bad it is.
    pub(super) fn level(self) -> Level {
        match self {
            Self::DatabaseDown
            | Self::DatabaseReadOnly
            | Self::StatusUnknown
            | Self::JobHangs
            | Self::BrokerDown
            | Self::ConsumerGone
            | Self::NotRestored
            | Self::BrakeApplied
            | Self::BlankTooLong
            | Self::PassOverdue => Level::Wrong,
            _ => Level::Watch,
        }
    }

    /// What it does to links.
    pub(super) fn effect(self) -> &'static str {
        match self {
            Self::DatabaseDown | Self::DatabaseReadOnly => {
                "Links that are right stay right. One that the LMS wipes now stays blank until this is over. Events wait."
            }
            Self::StatusUnknown | Self::PartUnread => "Not known. The worker may be fine.",
            Self::JobHangs => {
                "It depends on the job: a wiped link may stay blank, a moved page go unnoticed."
            }
            Self::BrokerDown | Self::ConsumerGone => {
                "A wiped link is back within a minute, by the heal. A moved page is noticed by the nightly pass only. \
                 Events wait in the broker."
            }
            Self::CatalogFails | Self::Throttled => {
                "Known links are still restored. New and moved pages wait; their events are tried again by themselves."
            }
            Self::NotRestored | Self::Blank | Self::BlankTooLong => {
                "These courses share the LMS’s own About page meanwhile."
            }
            Self::BrakeApplied => {
                "The courses that were held back share their old URLs. All else was written."
            }
            Self::PassOverdue => {
                "Pages that moved or vanished in the Catalog may go unnoticed. Links that are right stay right."
            }
            Self::Backlog => {
                "Links follow when the events’ turn comes. A wiped one is back within a minute, by the heal."
            }
            Self::NoPassYet => "A course without an event so far has no link.",
            Self::RefusedUrls => "A link that was there before stays. A course that never had one is blank.",
            Self::DeadLetters => "What such a message was about may be missed until the nightly pass.",
            Self::HintsLate => "A page that moves in the Catalog alone is noticed by the next pass.",
            Self::PassIncomplete => "What the pass could not read stays as it was.",
        }
    }

    /// The command that says more, or does it.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::NotRestored => "course-sharing heal",
            Self::BrakeApplied => "course-sharing reconcile --dry-run",
            Self::Blank | Self::BlankTooLong | Self::RefusedUrls => "course-sharing explain <course-id>",
            Self::PassOverdue | Self::NoPassYet | Self::PassIncomplete => "course-sharing reconcile",
            Self::DeadLetters => "course-sharing dead-letters list",
            _ => "course-sharing check",
        }
    }

    /// The anchor of its heading in the runbook.
    pub(super) fn anchor(self) -> &'static str {
        match self {
            Self::DatabaseDown => "coursesharingdatabasedown",
            Self::DatabaseReadOnly => "coursesharingdatabasereadonly",
            Self::StatusUnknown | Self::PartUnread | Self::JobHangs => "first-look",
            Self::BrokerDown | Self::ConsumerGone => "coursesharingconsumergone",
            Self::CatalogFails => "coursesharingbreakeropen",
            Self::NotRestored => "coursesharinglinknotrestored",
            Self::BrakeApplied => "coursesharingbrakeapplied",
            Self::Blank | Self::BlankTooLong => "coursesharinglinkblanktoolong",
            Self::PassOverdue | Self::PassIncomplete => "coursesharingpassoverdue",
            Self::Backlog => "coursesharingbacklog",
            Self::Throttled => "coursesharingbudgetusedup",
            Self::NoPassYet => "coursesharingnopassyet",
            Self::RefusedUrls => "coursesharingrefusedurls",
            Self::DeadLetters => "coursesharingdeadletters",
            Self::HintsLate => "coursesharinghintslate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::VariantArray;

    #[test]
    fn each_fault_has_its_heading_in_the_runbook() {
        for fault in Fault::VARIANTS {
            let heading = format!("<h2 id=\"{}\">", fault.anchor());
            assert!(super::super::runbook::HTML.contains(&heading), "{fault:?}");
        }
    }
}
