//! Which acknowledgements to send, so that many deliveries need few frames. Pure.
//!
//! "All up to this one" may be sent only where all up to this one are settled. Tags rise in the order of delivery on one
//! channel, and each channel starts again; so a window belongs to one channel.

use std::collections::BTreeSet;

/// The tags that are delivered and not acknowledged.
#[derive(Debug, Default)]
pub(super) struct AckWindow {
    outstanding: BTreeSet<u64>,
}

/// One acknowledgement to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    /// All up to the tag, and not only it.
    pub(super) multiple: bool,
}

impl AckWindow {
    /// Adds a delivery. To be called in the order of delivery, before it is settled.
    pub(super) fn delivered(&mut self, tag: u64) {
        self.outstanding.insert(tag);
    }

    /// Settles these, and returns what to send: one acknowledgement for all before the first unsettled one, and one each
    /// for the rest. Tags that are not outstanding are ignored, as the broker closes the channel on a tag that it gets
    /// twice.
    pub(super) fn settle(&mut self, tags: impl IntoIterator<Item = u64>) -> Vec<Ack> {
        let settled: BTreeSet<u64> = tags.into_iter().filter(|tag| self.outstanding.remove(tag)).collect();
        let first_unsettled = self.outstanding.first().copied().unwrap_or(u64::MAX);
        let before = settled.range(..first_unsettled);
        let count = before.clone().count();
        let together = before.last().map(|&tag| Ack { tag, multiple: count > 1 });
        let singly = settled.range(first_unsettled..).map(|&tag| Ack { tag, multiple: false });
        together.into_iter().chain(singly).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(tags: impl IntoIterator<Item = u64>) -> AckWindow {
        let mut window = AckWindow::default();
        tags.into_iter().for_each(|tag| window.delivered(tag));
        window
    }

    #[test]
    fn in_order_one_frame_is_enough() {
        let mut window = window(1..=5);
        assert_eq!(window.settle(1..=3), [Ack { tag: 3, multiple: true }]);
        assert_eq!(window.settle([4]), [Ack { tag: 4, multiple: false }]);
        assert_eq!(window.settle([4, 3, 99]), []);
    }

    #[test]
    fn a_gap_splits() {
        let mut window = window(1..=6);
        assert_eq!(
            window.settle([1, 2, 4, 6]),
            [
                Ack { tag: 2, multiple: true },
                Ack { tag: 4, multiple: false },
                Ack { tag: 6, multiple: false }
            ]
        );
        assert_eq!(window.settle([3, 5]), [Ack { tag: 5, multiple: true }]);
    }

    proptest! {
        /// After each step exactly the settled tags are acknowledged, and none twice.
        #[test]
        fn exactly_what_is_settled_is_acknowledged(
            steps in prop::collection::vec((0u64..8, prop::collection::vec(any::<prop::sample::Index>(), 0..8)), 0..30),
        ) {
            let mut window = AckWindow::default();
            let (mut last, mut at_broker, mut settled) = (0, BTreeSet::new(), BTreeSet::new());
            for (delivered, picks) in steps {
                for _ in 0..delivered {
                    last += 1;
                    window.delivered(last);
                    at_broker.insert(last);
                }
                let tags: Vec<u64> =
                    picks.iter().filter(|_| last > 0).map(|pick| pick.index(last as usize) as u64 + 1).collect();
                settled.extend(&tags);
                for ack in window.settle(tags) {
                    if ack.multiple {
                        prop_assert!(at_broker.range(..=ack.tag).next().is_some());
                        at_broker = at_broker.split_off(&(ack.tag + 1));
                    } else {
                        prop_assert!(at_broker.remove(&ack.tag), "{} is unknown to the broker", ack.tag);
                    }
                    // Never one that is unsettled.
                    prop_assert!((1..=last).all(|tag| at_broker.contains(&tag) || settled.contains(&tag)));
                }
                prop_assert!(at_broker.is_disjoint(&settled));
            }
        }
    }
}
