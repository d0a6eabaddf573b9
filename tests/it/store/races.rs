//! Two answers about one run at the same time: what was read before the other's commit never undoes it.

use chrono::TimeDelta;
use course_sharing::refused_url::RefusedUrl;
use course_sharing::store::{Entry, UrlRefusal};

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
            let answers: [Answer; 4] = [
                ("a first null", |e| Entry { pending_clear_since: Some(e.observed_at), ..e }),
                ("not listed", |e| Entry { listed: false, ..e }),
                ("refused", |e| {
                    let what = RefusedUrl { url: "course/x".to_owned(), why: "it is relative".to_owned() };
                    Entry { refused: Some(UrlRefusal { what, since: e.observed_at }), ..e }
                }),
                ("held back", |e| Entry { held: Some((7, Some("https://new/demo".to_owned()))), ..e }),
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
