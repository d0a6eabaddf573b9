//! The end of a pass: the brake, the changes that are made to all overviews at once, and the verdict.

use super::list::Listing;
use super::progress::Phase;
use super::report::HELD_LISTED;
use super::running::Running;
use super::{PassError, Report};
use crate::config::Absent;
use crate::engine::{Change, Policy, Why};
use crate::store::{Rejected, Verdict};

/// Fewer links than these prove nothing.
pub(crate) const FEW: u64 = 10;

impl Running<'_> {
    /// Ends the pass: its report and its row are whole after this.
    pub(super) async fn finish(&mut self, listing: Listing, asked_all: bool) -> Result<(), PassError> {
        let suspect = self.is_suspect().await?;
        let complete = self.judge(listing, asked_all) && !suspect;
        let mut verdict = match (listing, complete) {
            (Listing::Nothing, _) => Verdict::Failed,
            (_, true) => Verdict::Complete,
            (_, false) => Verdict::Incomplete,
        };
        if listing != Listing::Nothing && self.is_refused(complete).await? {
            verdict = Verdict::Refused;
        } else if self.has_rejected && verdict == Verdict::Complete {
            verdict = Verdict::Incomplete;
        }
        self.report.verdict = verdict;
        self.remark();
        // Nothing can have missed what was never looked at before.
        if !self.is_light() && self.last_complete.is_some() {
            let (settings, changed) = (&self.parts.settings, self.report.changed);
            self.report.missed_by_light = if settings.light_schedule.is_some() { changed } else { 0 };
            self.report.missed_by_hints = if settings.delta_interval.is_some() { changed } else { 0 };
        }
        let changed = self.report.updated + self.report.cleared;
        self.report.kept = self.report.overviews.saturating_sub(changed);
        self.report.finished_at = Some(self.store().now().await?);
        self.save().await?;
        self.progress.at(&self.status(Phase::Finish));
        self.report.log();
        Ok(())
    }

    /// Whether every overview was settled, of a light pass those that it saw; what speaks against it, as reasons.
    fn judge(&mut self, listing: Listing, asked_all: bool) -> bool {
        let empty = self.is_suddenly_empty();
        let report = &mut self.report;
        let (linked, unsettled) = (report.linked, report.unsettled);
        if listing != Listing::Nothing && empty {
            report.reason(format!(
                "the Catalog lists no run at all, while {linked} overviews have a link; does catalog.url have the \
                 site's public host name?"
            ));
        }
        if unsettled > 0 {
            let first = for_one(&report.unsettled_keys);
            report.reason(format!("{unsettled} overviews could not be settled{first}"));
        }
        if listing != Listing::Nothing && !asked_all && unsettled == 0 {
            report.reason("the Catalog did not answer until the end".to_owned());
        }
        // Where asking by key has settled all, it does not matter that the list ended early. A light pass has only the list.
        let is_read = if self.is_light() { listing == Listing::Whole } else { listing != Listing::Nothing };
        is_read && asked_all && !empty && unsettled == 0
    }

    /// What is worth knowing, and makes no pass incomplete: the last of its reasons.
    fn remark(&mut self) {
        let is_light = self.is_light();
        let report = &mut self.report;
        if report.refused > 0 {
            let (refused, first) = (report.refused, for_one(&report.refused_urls));
            report.reason(format!("{refused} courses have a URL in the Catalog that is refused{first}"));
        }
        if report.broken_runs > 0 && report.unsettled == 0 {
            let (broken, first) =
                (report.broken_runs, report.broken.first().map_or(0, |broken| broken.position));
            let depends = match is_light {
                true => "a full pass finds out whether an overview depends on it",
                false => "no overview depends on it",
            };
            report.reason(format!(
                "the Catalog cannot show {broken} of its runs (the first at position {first}); {depends}"
            ));
        }
    }

    /// Whether most links are of courses that the Catalog does not list any more, which is said as a reason.
    async fn is_suspect(&mut self) -> Result<bool, PassError> {
        if self.options.allow_mass_change {
            return Ok(false);
        }
        let last = self.store().last_ended(Some(Verdict::Complete)).await?;
        let last = last.and_then(|row| serde_json::from_str::<Report>(&row.report).ok());
        let accepted = last.map_or(0, |report| report.unlisted_links);
        let (linked, unlisted) = (self.report.linked, self.report.unlisted_links);
        let suspect = is_suspect(linked, unlisted, accepted);
        if suspect {
            // Another site's list: a later pass finds it again if it is so.
            self.waiting.release(&mut self.report);
            self.report.reason(format!(
                "{unlisted} of {linked} linked courses are not listed: the host in catalog.url probably reaches \
                 another partner's list; set it to the site's public host name. Nothing is cleared. If the Catalog has \
                 really dropped these courses: course-sharing reconcile --allow-mass-change"
            ));
        }
        Ok(suspect)
    }

    /// The brake, and the statements that bring all overviews in line with the ledger. Returns whether it refused.
    async fn is_refused(&mut self, complete: bool) -> Result<bool, PassError> {
        let clears_absent = self.parts.settings.absent == Absent::Clear && complete && !self.is_light();
        let store = self.store();
        if self.options.dry_run {
            self.report.held_back += if clears_absent { self.absent } else { 0 };
        } else if clears_absent && !self.options.allow_mass_change {
            self.hold_absent().await?;
        }
        let refused = !self.options.allow_mass_change && self.report.is_over_allowance();
        if refused {
            let holds = if self.options.dry_run { "would hold" } else { "holds" };
            let (held, allowance) = (self.report.held_back, self.report.allowance);
            self.report.reason(format!(
                "the brake {holds} back {held} links that would be cleared or led to another host; {allowance} may be \
                 in one pass; --allow-mass-change lets them through"
            ));
        }
        if self.options.dry_run {
            return Ok(refused);
        }
        self.go_on()?;
        if refused {
            tracing::error!(
                event = "reconcile.brake_applied",
                pass = self.report.pass,
                held_back = self.report.held_back,
                allowance = self.report.allowance,
                linked = self.report.linked,
                first = self.report.held.first().map(|held| held.key.as_str()),
                "too many links would be cleared or led to another host: held back; if that is wanted, run \
                 course-sharing reconcile --allow-mass-change"
            );
        } else {
            self.release_held().await?;
            self.has_cleared |= clears_absent && store.clear_absent(self.report.started_at).await? > 0;
        }
        self.go_on()?;
        // Custom courses, and what the LMS has overwritten meanwhile.
        let healed = store.heal().await?;
        self.report.updated += healed.overviews;
        self.note_rejected(&healed.rejected);
        // What healing leaves: clears, of custom courses too.
        if self.has_cleared {
            let copied = store.copy_changes(self.report.started_at).await?;
            self.report.cleared += copied.overviews;
            self.note_rejected(&copied.rejected);
        }
        store.forget_failures().await?;
        Ok(refused)
    }

    /// Counts the runs that would lose their link as they are not listed any more.
    async fn hold_absent(&mut self) -> Result<(), PassError> {
        let (store, since) = (self.store(), self.report.started_at);
        let absent = store.count_absent(since).await?;
        let named = store.absent(since, HELD_LISTED as u64).await?;
        let change = |(key, from)| Change { key, from, to: None, why: Why::Absent, also: Vec::new() };
        self.report.hold(absent, named.into_iter().map(change));
        Ok(())
    }

    /// Makes the changes that wait, on custom courses too.
    async fn release_held(&mut self) -> Result<(), PassError> {
        let mut answers = self.waiting.release(&mut self.report);
        let custom = self.store().custom_courses_of(answers.courses()).await?;
        answers.about(custom);
        self.observe(answers, Policy { bulk: true, ..Policy::default() }).await?;
        Ok(())
    }

    /// Overviews that are to follow the ledger at the end, and that the database rejects.
    fn note_rejected(&mut self, rejected: &[Rejected]) {
        let Some(Rejected { course, why }) = rejected.first() else { return };
        self.has_rejected = true;
        let count = rejected.len();
        self.report.reason(format!(
            "the database rejects what {count} overviews should have, for one {course}: {why}"
        ));
    }
}

/// The first of a list, as the end of a sentence.
fn for_one(list: &[String]) -> String {
    list.first().map_or(String::new(), |first| format!(", for one {first}"))
}

/// Whether the pass has probably read another site's list, as most links are not listed any more. The Catalog picks its
/// partner by the host of the request and says nothing of that: a wrong host gives sound answers. Of `linked` overviews, `unlisted` have a run that the Catalog does not
/// list; `accepted` is the same number of the last complete pass, which is how things are on this site.
fn is_suspect(linked: u64, unlisted: u64, accepted: u64) -> bool {
    let accepted = accepted.min(unlisted);
    let lost = unlisted - accepted;
    lost >= FEW && lost > linked.saturating_sub(accepted) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn more_than_half_of_at_least_ten_links_is_suspect() {
        for (linked, unlisted, accepted, suspect) in [
            (3370, 3370, 0, true),
            (3370, 1686, 0, true),
            (3370, 1685, 0, false),
            (0, 0, 0, false),
            (9, 9, 0, false),
            (10, 10, 0, true),
            (19, 10, 0, true),
            (20, 10, 0, false),
            // A site whose last complete pass found 600 links of courses that the Catalog has dropped for good.
            (1000, 600, 600, false),
            (1000, 800, 600, false),
            (1000, 801, 600, true),
            // More were accepted once than are missing now.
            (1000, 600, 900, false),
        ] {
            assert_eq!(is_suspect(linked, unlisted, accepted), suspect, "{linked} {unlisted} {accepted}");
        }
    }

    proptest! {
        #[test]
        fn losing_more_is_never_less_suspect(linked in 0..10_000_u64, lost in 0..10_000_u64, more in 0..100_u64, accepted in 0..5_000_u64) {
            prop_assert!(!is_suspect(linked, lost, accepted) || is_suspect(linked, lost + more, accepted));
            prop_assert!(!is_suspect(linked, lost, lost));
        }
    }
}
