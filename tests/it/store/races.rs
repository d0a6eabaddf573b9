//! Two answers about one run at the same time: what was read before the other's commit never undoes it.

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::model::course_key::RunKey;
use course_sharing::model::extra_columns::{Also, AlsoColumn};
use course_sharing::model::marketing_url::RefusedUrl;
use course_sharing::store::{Entry, Store, UrlRefusal};

use super::{RUN, URL, entry, key};
use crate::support::databases::{KINDS, TestDatabase};

#[tokio::test]
async fn a_later_answer_without_a_url_keeps_one_that_was_committed_after_it_had_read_the_row() {
    for kind in KINDS {
        for stale in [None, Some("https://e/stale")] {
            let database = TestDatabase::new(kind).await;
            let store = &database.store;
            database.insert_overview(RUN, None).await;
            let run = key(RUN).run_key();
            let mut asked_at = store.now().await.unwrap();
            let mut later = || {
                asked_at += TimeDelta::seconds(1);
                asked_at
            };
            type Answer = (&'static str, fn(Entry) -> Entry);
            let answers: [Answer; 3] = [
                ("a first null", |e| Entry { pending_clear_since: Some(e.observed_at), ..e }),
                ("not listed", |e| Entry { listed: false, ..e }),
                ("refused", |e| {
                    let what = RefusedUrl { url: "course/x".to_owned(), why: "it is relative".to_owned() };
                    Entry { refused: Some(UrlRefusal { what, since: e.observed_at }), ..e }
                }),
            ];
            for (what, answer) in answers {
                let confirmed = entry(RUN, Some(URL), later());
                store.apply(vec![confirmed.clone()], vec![key(RUN)]).await.unwrap();
                let late = answer(Entry { changed_at: None, ..entry(RUN, stale, later()) });
                store.apply(vec![late.clone()], vec![key(RUN)]).await.unwrap();
                let kept = store.entries(std::slice::from_ref(&run)).await.unwrap().remove(&run).unwrap();
                let expected = Entry { url: confirmed.url, changed_at: confirmed.changed_at, ..late };
                assert_eq!(kept, expected, "{kind:?}: {what} over {stale:?}");
                assert_eq!(database.link(RUN).await, Some(Some(URL.to_owned())), "{kind:?}: {what}");
            }
            database.drop().await;
        }
    }
}

#[tokio::test]
async fn a_null_over_a_url_that_was_committed_after_it_had_read_the_row_begins_its_own_wait() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        let at = |seconds| now + TimeDelta::seconds(seconds);
        let null =
            |since, asked| Entry { pending_clear_since: Some(at(since)), ..entry(RUN, Some(URL), at(asked)) };
        let run = key(RUN).run_key();
        for (answer, pending) in [
            (null(0, 0), Some(at(0))),
            (null(0, 5), Some(at(0))),
            (entry(RUN, Some(URL), at(10)), None),
            (null(0, 20), Some(at(20))),
            (null(20, 30), Some(at(20))),
        ] {
            store.apply(vec![answer.clone()], vec![]).await.unwrap();
            let kept = store.entries(std::slice::from_ref(&run)).await.unwrap().remove(&run).unwrap();
            assert_eq!(kept.pending_clear_since, pending, "{kind:?}: {answer:?}");
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn runs_whose_answer_was_refused_are_named_and_no_others() {
    let (other, third) = ("course-v1:edX+Other+1", "course-v1:edX+Third+1");
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        let at = |seconds| now + TimeDelta::seconds(seconds);
        let refused = async |entries| store.apply(entries, vec![]).await.unwrap().superseded;
        let (first, second) = (entry(RUN, Some(URL), at(10)), entry(other, Some(URL), at(0)));
        assert_eq!(refused(vec![first.clone(), second]).await, [], "{kind:?}: both are new");
        assert_eq!(refused(vec![first]).await, [], "{kind:?}: the same once more");
        let mixed = [(RUN, 5), (other, 5), (third, 5)];
        let mixed = mixed.map(|(run, seconds)| entry(run, Some("https://e/x"), at(seconds))).to_vec();
        assert_eq!(refused(mixed).await, [key(RUN).run_key()], "{kind:?}");
        let clear = |seconds| Entry {
            pending_clear_since: Some(at(20)),
            cleared_at: Some(at(seconds)),
            ..entry(RUN, Some(URL), at(seconds))
        };
        assert_eq!(refused(vec![clear(30)]).await, [key(RUN).run_key()], "{kind:?}: no null was seen");
        let null = Entry { pending_clear_since: Some(at(20)), ..entry(RUN, Some(URL), at(20)) };
        assert_eq!(refused(vec![null]).await, [], "{kind:?}");
        assert_eq!(refused(vec![clear(30)]).await, [], "{kind:?}");
        database.drop().await;
    }
}

/// Whatever is written over whatever: a refused answer changes nothing of its row, and every other is in it.
#[tokio::test]
async fn a_row_says_what_was_refused_for_any_answers_in_any_order() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        let mut times_refused = 0;
        for round in 0..40 {
            let runs: Vec<String> = (0..8).map(|n| format!("course-v1:edX+Run{n}+1")).collect();
            let entries: Vec<Entry> = runs.iter().map(|run| any_answer(run, now)).collect();
            let keys: Vec<RunKey> = entries.iter().map(|entry| entry.run.clone()).collect();
            let before = store.entries(&keys).await.unwrap();
            let superseded = store.apply(entries.clone(), vec![]).await.unwrap().superseded;
            let after = store.entries(&keys).await.unwrap();
            for entry in entries {
                let (old, new) = (before.get(&entry.run), &after[&entry.run]);
                let what = format!("{kind:?} round {round}: {entry:?} over {old:?} made {new:?}");
                if superseded.contains(&entry.run) {
                    times_refused += 1;
                    assert_eq!(old, Some(new), "{what}");
                } else {
                    assert_eq!((new.observed_at, new.listed), (entry.observed_at, entry.listed), "{what}");
                    // A null begins its own wait over a row that waits for none.
                    let begins = old.is_some_and(|old| old.pending_clear_since.is_none());
                    let pending =
                        entry.pending_clear_since.map(|since| if begins { entry.observed_at } else { since });
                    assert_eq!(new.pending_clear_since, pending, "{what}");
                    assert!(old.is_none_or(|old| old.observed_at <= entry.observed_at), "{what}");
                    assert!(old.is_none_or(|old| old.url.is_none() || new.url.is_some()), "{what}");
                }
            }
        }
        assert!(times_refused > 20, "{kind:?}: {times_refused}");
        database.drop().await;
    }
}

/// An answer at one of few moments, so that equal ones are met too.
fn any_answer(run: &str, now: DateTime<Utc>) -> Entry {
    let asked_at = now + TimeDelta::seconds(rand::random_range(0..20));
    let since = Some(asked_at - TimeDelta::seconds(rand::random_range(0..10)));
    let url = entry(run, Some("https://e/x"), asked_at);
    match rand::random_range(0..5) {
        0 => Entry { listed: false, cleared_at: since.filter(|_| rand::random()), ..url },
        1 => Entry { pending_clear_since: since, ..url },
        2 => Entry { pending_clear_since: since, cleared_at: Some(asked_at), ..url },
        _ => url,
    }
}

#[tokio::test]
async fn an_answer_without_the_run_leaves_alone_what_was_committed_after_it_had_read_the_row() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = database.store.clone().with_also(&AlsoColumn::ALL);
        let run = key(RUN).run_key();
        let now = store.now().await.unwrap();
        let at = |seconds| now + TimeDelta::seconds(seconds);
        let row = async |store: &Store| {
            store.entries(std::slice::from_ref(&run)).await.unwrap().remove(&run).unwrap()
        };
        let also = |language: &str| Also {
            eligible_for_financial_aid: Some(true),
            language: Some(language.to_owned()),
        };
        let known =
            Entry { pending_clear_since: Some(at(0)), also: also("en"), ..entry(RUN, Some(URL), at(0)) };
        store.apply(vec![known.clone()], vec![]).await.unwrap();
        // The row was read as it is now; then a clear is committed, with another language.
        let not_listed = |seconds, read: &Entry| Entry {
            listed: false,
            pending_clear_since: None,
            also: Also::NOTHING,
            observed_at: at(seconds),
            ..read.clone()
        };
        let clear =
            Entry { cleared_at: Some(at(10)), observed_at: at(10), also: also("de"), ..known.clone() };
        store.apply(vec![clear], vec![]).await.unwrap();
        let late = store.apply(vec![not_listed(11, &known)], vec![]).await.unwrap();
        let kept = row(&store).await;
        assert_eq!(late.superseded, [], "{kind:?}");
        assert_eq!((kept.listed, kept.cleared_at), (false, Some(at(10))), "{kind:?}: the clear is undone");
        assert_eq!(kept.also, also("de"), "{kind:?}: another value is undone");
        // And the other way round: what was cleared when the row was read has a URL again.
        store.apply(vec![entry(RUN, Some("https://e/new"), at(12))], vec![]).await.unwrap();
        let late = store.apply(vec![not_listed(13, &kept)], vec![]).await.unwrap();
        let again = row(&store).await;
        assert_eq!(late.superseded, [], "{kind:?}");
        assert_eq!((again.listed, again.in_force()), (false, Some("https://e/new")), "{kind:?}");
        database.drop().await;
    }
}
