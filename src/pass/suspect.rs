//! Whether a pass has read another site's list. The Catalog picks its partner by the host of the request and says
//! nothing of that: a wrong host gives sound answers, in which hardly any course of this LMS is listed. Pure.

/// Fewer links than these prove nothing.
pub(crate) const FEW: u64 = 10;

/// Whether most links are not listed any more. Of `linked` overviews, `unlisted` have a run that the Catalog does not
/// list; `accepted` is the same number of the last complete pass, which is how things are on this site.
pub(super) fn is_suspect(linked: u64, unlisted: u64, accepted: u64) -> bool {
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
