//! The mass-change brake: one pass that clears or re-hosts many links is more likely a mistake in the Catalog than a
//! wish. Pure.

use super::Why;
use crate::model::marketing_url::host_of;
use crate::store::Entry;

/// How many changes that are a risk one pass may make without --allow-mass-change, where `linked` overviews have a link.
pub fn allowance(linked: u64, max_change_ratio: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "no LMS has 2^52 courses")]
    let share = (linked as f64 * max_change_ratio).floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is not negative"
    )]
    let share = share as u64;
    share.max(10)
}

/// Why making what is `planned` of what is `known` is a risk, where learners have `shown` now: their link goes, or leads to
/// another host.
///
/// Giving a link back that the ledger has in force already is no risk: healing does that every minute. Replacing
/// something without a host is none either, as it leads nowhere.
pub(super) fn risk(shown: Option<&str>, known: Option<&Entry>, planned: &Entry) -> Option<Why> {
    let shown = shown?;
    match planned.in_force() {
        None if planned.cleared_at.is_some() && planned.refused.is_none() => Some(Why::Cleared),
        Some(url) if known.and_then(Entry::in_force) != Some(url) => {
            let (old, new) = (host_of(shown), host_of(url));
            (old.is_some() && old != new).then_some(Why::Rehosted)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::course_key::CourseKey;
    use crate::model::extra_columns::Also;
    use crate::store::ObservedBy;
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    fn entry(url: Option<&str>, cleared: bool) -> Entry {
        let at = DateTime::<Utc>::UNIX_EPOCH;
        Entry {
            run: CourseKey::parse("course-v1:a+b+c").unwrap().run_key(),
            url: url.map(str::to_owned),
            listed: true,
            pending_clear_since: cleared.then_some(at),
            cleared_at: cleared.then_some(at),
            changed_at: None,
            observed_at: at,
            observed_by: ObservedBy::Pass,
            also: Also::NOTHING,
            refused: None,
        }
    }

    #[test]
    fn ten_may_change_whatever_the_share_is() {
        for (linked, ratio, allowed) in [
            (0, 0.05, 10),
            (100, 0.05, 10),
            (400, 0.05, 20),
            (3300, 0.05, 165),
            (100, 0.0, 10),
            (100, 1.0, 100),
        ] {
            assert_eq!(allowance(linked, ratio), allowed, "{linked} × {ratio}");
        }
    }

    #[test]
    fn clears_and_new_hosts_are_risks_and_nothing_else_is() {
        let old = Some("https://old.example/a");
        assert_eq!(risk(old, None, &entry(old, true)), Some(Why::Cleared));
        assert_eq!(risk(None, None, &entry(old, true)), None, "nobody sees it");
        let new = entry(Some("https://new.example/a"), false);
        assert_eq!(risk(old, Some(&entry(old, false)), &new), Some(Why::Rehosted));
        assert_eq!(risk(old, Some(&new), &new), None, "healing would do it too");
        assert_eq!(risk(None, None, &new), None, "a new link");
        assert_eq!(risk(Some("course/a"), None, &new), None, "it led nowhere");
        let other = entry(Some("https://old.example/b"), false);
        assert_eq!(risk(old, Some(&entry(old, false)), &other), None, "another page of the same host");
        assert_eq!(risk(old, None, &entry(None, false)), None, "a null seen once");
    }

    proptest! {
        #[test]
        fn the_allowance_never_shrinks_as_links_or_ratio_grow(a in 0..2_000_000_u64, b in 0..2_000_000_u64, r in 0.0..1.0_f64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(allowance(low, r) <= allowance(high, r));
            prop_assert!(allowance(low, r / 2.0) <= allowance(low, r));
            prop_assert!(allowance(high, r) <= high.max(10));
        }
    }
}
