//! Blocks over lists that are paged in any way, and that change.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::also::Also;
use crate::course_key::CourseKey;
use crate::marketing_url::UrlPolicy;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn run(number: u64, edition: u64) -> ListedRun {
    let url = format!("https://www.campus.example/course/{number}-{edition}");
    ListedRun {
        key: CourseKey::parse(&format!("course-v1:OrgX+C{number}+2026")),
        observation: Observation::Url(UrlPolicy::default().accept(&url).unwrap(), Also::NOTHING),
        odd: Vec::new(),
    }
}

/// The list of these runs, each with the edition of its URL, read in pages of these sizes; `swaps` has pages come
/// back out of order.
fn cut(list: &[(u64, u64)], sizes: &[usize], swaps: bool) -> Vec<Block> {
    let mut pages = Vec::new();
    let (mut from, mut sizes) = (0, sizes.iter().cycle());
    while from < list.len() {
        let to = list.len().min(from + sizes.next().unwrap());
        let runs = list[from..to].iter().map(|(number, edition)| run(*number, *edition)).collect();
        pages.push(Stretch { start: from as u64, end: to as u64, asked_at: at(from as i64), runs });
        from = to;
    }
    if swaps {
        pages.chunks_mut(2).for_each(|pair| pair.reverse());
    }
    let mut cutter = Cutter::new(0, 2);
    let mut blocks: Vec<Block> = pages.into_iter().flat_map(|page| cutter.add(page)).collect();
    blocks.extend(cutter.rest());
    blocks
}

fn digests(blocks: &[Block]) -> Vec<i64> {
    blocks.iter().map(|block| block.digest).collect()
}

fn list(len: u64) -> Vec<(u64, u64)> {
    (0..len).map(|number| (number, 0)).collect()
}

/// Blocks of the one that the other has not.
fn new(before: &[Block], after: &[Block]) -> usize {
    let before: HashSet<i64> = digests(before).into_iter().collect();
    digests(after).iter().filter(|digest| !before.contains(digest)).count()
}

#[test]
fn blocks_are_neither_many_nor_long() {
    let blocks = cut(&list(20_000), &[1000], false);
    assert!((200..450).contains(&blocks.len()), "{}", blocks.len());
    assert!(blocks.iter().all(|block| block.runs.len() <= LONGEST));
    assert_eq!(blocks.iter().map(|block| block.runs.len()).sum::<usize>(), 20_000);
}

#[test]
fn a_digest_is_the_same_in_every_version() {
    // If this changes on purpose, so must the fingerprint's first byte; every pass then looks at every run once.
    assert_eq!(digests(&cut(&list(3), &[3], false)), [-9_067_225_268_085_864_142]);
}

#[test]
fn runs_that_are_all_the_same_still_end() {
    let odd = || ListedRun {
        key: CourseKey::parse("?"),
        observation: Observation::NoUrl(Also::NOTHING),
        odd: Vec::new(),
    };
    let runs: Vec<ListedRun> = std::iter::repeat_with(odd).take(5000).collect();
    let mut cutter = Cutter::new(0, 2);
    let blocks = cutter.add(Stretch { start: 0, end: 5000, asked_at: at(0), runs });
    assert!(!blocks.is_empty() && blocks.iter().all(|block| block.runs.len() <= LONGEST));
}

#[test]
fn what_nobody_can_read_cuts_and_counts_as_read() {
    let mut cutter = Cutter::new(0, 2);
    let page =
        |start, end| Stretch { start, end, asked_at: at(0), runs: (start..end).map(|n| run(n, 0)).collect() };
    let mut blocks = cutter.add(page(0, 3));
    blocks.extend(cutter.add(Stretch { start: 3, end: 4, asked_at: at(0), runs: Vec::new() }));
    blocks.extend(cutter.add(page(4, 6)));
    blocks.extend(cutter.rest());
    let parts: Vec<(u64, u64, usize)> = blocks.iter().map(|b| (b.start, b.end, b.runs.len())).collect();
    assert_eq!(parts, [(0, 3, 3), (3, 4, 0), (4, 6, 2)]);
}

#[test]
fn a_page_that_never_comes_holds_no_others_back_for_long() {
    let mut cutter = Cutter::new(0, 2);
    let mut out = Vec::new();
    for page in 1..100_u64 {
        let runs = (page * 10..page * 10 + 10).map(|n| run(n, 0)).collect();
        out.extend(cutter.add(Stretch { start: page * 10, end: page * 10 + 10, asked_at: at(0), runs }));
        assert!(cutter.waiting.len() <= 16);
    }
    let late = cutter.add(Stretch {
        start: 0,
        end: 10,
        asked_at: at(0),
        runs: (0..10).map(|n| run(n, 0)).collect(),
    });
    out.extend(late);
    out.extend(cutter.rest());
    assert_eq!(out.iter().map(|block| block.runs.len()).sum::<usize>(), 1000);
    assert!(out.iter().all(|block| block.end - block.start == block.runs.len() as u64));
}

proptest! {
    #[test]
    fn how_the_list_is_paged_does_not_matter(
        len in 0..2000_u64, a in prop::collection::vec(1..300_usize, 1..9), b in prop::collection::vec(1..300_usize, 1..9),
        swaps in any::<bool>(),
    ) {
        let (whole, paged) = (cut(&list(len), &a, false), cut(&list(len), &b, swaps));
        prop_assert_eq!(digests(&whole), digests(&paged));
        let mut position = 0;
        for block in &paged {
            prop_assert_eq!(block.start, position);
            position = block.end;
            prop_assert!(block.asked_at <= at(i64::try_from(block.start).unwrap()), "no newer than its oldest part");
        }
        prop_assert_eq!(position, len);
    }

    #[test]
    fn a_run_that_comes_goes_or_changes_touches_its_own_block_alone(
        len in 1..2000_u64, place in any::<prop::sample::Index>(), page in 20..300_usize,
    ) {
        let before = list(len);
        let place = place.index(before.len());
        let old = cut(&before, &[page], false);
        let (mut more, mut less, mut other) = (before.clone(), before.clone(), before);
        more.insert(place, (1_000_000, 0));
        less.remove(place);
        other[place].1 = 1;
        for after in [more, less, other] {
            // Two where it comes to be, or was, the end of a block.
            prop_assert!(new(&old, &cut(&after, &[page], true)) <= 2);
        }
    }
}
