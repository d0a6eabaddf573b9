//! What an answer of the Catalog changes in what is known of a run. Pure. The only place that clears a URL, but for
//! `store/absent.rs`: there a complete pass clears those of runs that are not listed, where `reconcile.absent` is `clear`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::Observation;
use crate::model::course_key::RunKey;
use crate::model::extra_columns::Also;
use crate::store::{Entry, ObservedBy, UrlRefusal};

/// The question that the answer belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// When it was asked, on the database's clock; before the request went out, so that what changes meanwhile
    /// counts as later.
    pub asked_at: DateTime<Utc>,
    /// What asked it.
    pub by: ObservedBy,
    /// How far apart a null must be seen twice before a URL is cleared.
    pub clear_after: Duration,
}

/// The ledger row of `run`, of which this is `known`, as it becomes by `observation`, the answer to `question`. None if the
/// answer is unknown: then nothing changes, and nothing is written.
pub fn plan(
    run: &RunKey,
    known: Option<&Entry>,
    observation: &Observation,
    question: Question,
) -> Option<Entry> {
    let base = Entry {
        run: run.clone(),
        url: known.and_then(|known| known.url.clone()),
        listed: true,
        pending_clear_since: None,
        cleared_at: known.and_then(|known| known.cleared_at),
        changed_at: known.and_then(|known| known.changed_at),
        observed_at: question.asked_at,
        observed_by: question.by,
        also: also(observation),
        refused: None,
    };
    match observation {
        Observation::Url(url, _) => {
            let same = known.and_then(Entry::in_force) == Some(url.as_str());
            let changed_at = if same { base.changed_at } else { Some(question.asked_at) };
            Some(Entry { url: Some(url.as_str().to_owned()), cleared_at: None, changed_at, ..base })
        }
        Observation::NoUrl(_) => Some(clear_after_second_null(base, known, question)),
        Observation::NotListed => Some(Entry { listed: false, ..base }),
        Observation::Refused(what) => {
            let before = known.and_then(|known| known.refused.as_ref()).filter(|before| before.what == *what);
            let since = before.map_or(question.asked_at, |before| before.since);
            let refused = Some(UrlRefusal { what: what.clone(), since });
            Some(Entry { refused, ..base })
        }
        Observation::Unknown(_) => None,
    }
}

/// What the answer says beside the URL. What it does not say the ledger keeps: the LMS's column may not be NULL, or has
/// more to say than a null in the Catalog.
fn also(observation: &Observation) -> Also {
    match observation {
        Observation::Url(_, also) | Observation::NoUrl(also) => also.clone(),
        Observation::Refused(_) | Observation::NotListed | Observation::Unknown(_) => Also::NOTHING,
    }
}

/// A null: the first one is only noted down, as a Catalog in the middle of an edit, or one bad answer, looks alike.
fn clear_after_second_null(base: Entry, known: Option<&Entry>, question: Question) -> Entry {
    let since = known.and_then(|known| known.pending_clear_since).unwrap_or(question.asked_at);
    let wait = TimeDelta::from_std(question.clear_after).unwrap_or(TimeDelta::MAX);
    let ripe = known.is_some_and(|known| known.pending_clear_since.is_some())
        && question.asked_at.signed_duration_since(since) >= wait;
    let pending = Entry { pending_clear_since: Some(since), ..base };
    if pending.cleared_at.is_none() && ripe {
        let at = Some(question.asked_at);
        return Entry { cleared_at: at, changed_at: at, ..pending };
    }
    pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{CatalogError, Defect};
    use crate::model::course_key::CourseKey;
    use crate::model::marketing_url::RefusedUrl;
    use crate::model::marketing_url::UrlPolicy;
    use proptest::prelude::*;

    const NO_URL: Observation = Observation::NoUrl(Also::NOTHING);
    const CLEAR_AFTER: Duration = Duration::from_secs(900);

    fn run() -> RunKey {
        CourseKey::parse("course-v1:a+b+c").unwrap().run_key()
    }

    fn url(text: &str) -> Observation {
        Observation::Url(UrlPolicy::default().accept(text).unwrap(), Also::NOTHING)
    }

    fn refused(text: &str) -> Observation {
        let why = UrlPolicy::default().accept(text).unwrap_err();
        Observation::Refused(RefusedUrl::new(text, &why))
    }

    fn at(seconds: i64) -> Question {
        let asked_at = DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        Question { asked_at, by: ObservedBy::Event, clear_after: CLEAR_AFTER }
    }

    /// What became of a URL.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum UrlChange {
        Same,
        Set,
        PendingClear,
        Clear,
        NoPage,
        Refused,
        NotListed,
    }

    fn change(known: Option<&Entry>, planned: &Entry) -> UrlChange {
        let before = known.and_then(Entry::in_force);
        match planned.in_force() {
            _ if planned.refused.is_some() => UrlChange::Refused,
            _ if !planned.listed => UrlChange::NotListed,
            Some(_) if planned.pending_clear_since.is_some() => UrlChange::PendingClear,
            Some(url) if before == Some(url) => UrlChange::Same,
            Some(_) => UrlChange::Set,
            None if planned.cleared_at == Some(planned.observed_at) => UrlChange::Clear,
            None => UrlChange::NoPage,
        }
    }

    /// Plays answers at given seconds, as if each were applied; says what is known at the end, and the changes.
    fn play(answers: &[(i64, Observation)]) -> (Option<Entry>, Vec<UrlChange>) {
        let mut known = None;
        let mut changes = Vec::new();
        for (seconds, observation) in answers {
            let planned = plan(&run(), known.as_ref(), observation, at(*seconds)).unwrap();
            changes.push(change(known.as_ref(), &planned));
            let before = known.map_or(Also::NOTHING, |known: Entry| known.also);
            known = Some(Entry { also: planned.also.or(&before), ..planned });
        }
        (known, changes)
    }

    #[test]
    fn a_url_is_set_once_and_then_the_same() {
        let (known, changes) =
            play(&[(0, url("https://e/a")), (9, url("https://e/a")), (10, url("https://e/b"))]);
        assert_eq!(changes, [UrlChange::Set, UrlChange::Same, UrlChange::Set]);
        assert_eq!(known.unwrap().in_force(), Some("https://e/b"));
    }

    #[test]
    fn not_knowing_changes_nothing() {
        let unknown = Observation::Unknown(CatalogError::from(Defect::Cut).into());
        let known = play(&[(0, url("https://e/a"))]).0;
        assert_eq!(plan(&run(), known.as_ref(), &unknown, at(9)), None);
    }

    #[test]
    fn a_refused_url_is_kept_beside_the_one_in_force_until_the_catalog_lists_another() {
        let (known, changes) =
            play(&[(0, url("https://e/a")), (5, refused("course/x")), (9, refused("course/x"))]);
        assert_eq!(changes, [UrlChange::Set, UrlChange::Refused, UrlChange::Refused]);
        let known = known.unwrap();
        assert_eq!((known.in_force(), known.listed), (Some("https://e/a"), true));
        let refusal = known.refused.unwrap();
        assert_eq!((refusal.what.url.as_str(), refusal.since), ("course/x", at(5).asked_at));
        let (other, _) = play(&[(5, refused("course/x")), (9, refused("course/y"))]);
        assert_eq!(other.unwrap().refused.unwrap().since, at(9).asked_at);
        for answer in [url("https://e/b"), NO_URL, Observation::NotListed] {
            assert_eq!(play(&[(5, refused("course/x")), (9, answer)]).0.unwrap().refused, None);
        }
    }

    #[test]
    fn a_refused_url_neither_clears_nor_ends_a_clear() {
        let nulls = [(0, url("https://e/a")), (1, NO_URL), (901, NO_URL)];
        let (known, changes) = play(&[&nulls[..], &[(902, refused("course/x"))]].concat());
        assert_eq!(changes[3], UrlChange::Refused);
        assert_eq!(known.unwrap().in_force(), None);
    }

    #[test]
    fn a_null_clears_when_seen_twice_and_clear_after_apart() {
        let (known, changes) = play(&[(0, url("https://e/a")), (10, NO_URL), (500, NO_URL), (910, NO_URL)]);
        assert_eq!(
            changes,
            [UrlChange::Set, UrlChange::PendingClear, UrlChange::PendingClear, UrlChange::Clear]
        );
        let known = known.unwrap();
        assert_eq!(
            (known.in_force(), known.url.as_deref()),
            (None, Some("https://e/a")),
            "the URL is not lost"
        );
    }

    #[test]
    fn anything_whole_in_between_restarts_the_wait() {
        for other in [url("https://e/a"), Observation::NotListed, refused("course/x")] {
            let (known, changes) =
                play(&[(0, url("https://e/a")), (10, NO_URL), (20, other), (2000, NO_URL)]);
            assert_eq!(changes[3], UrlChange::PendingClear);
            assert_eq!(known.unwrap().in_force(), Some("https://e/a"));
        }
    }

    #[test]
    fn a_url_comes_back_after_a_clear() {
        let nulls = [(0, url("https://e/a")), (1, NO_URL), (901, NO_URL)];
        let (known, changes) = play(&[&nulls[..], &[(902, NO_URL), (903, url("https://e/a"))]].concat());
        assert_eq!(changes[2..], [UrlChange::Clear, UrlChange::NoPage, UrlChange::Set]);
        assert_eq!(known.unwrap().in_force(), Some("https://e/a"));
    }

    fn answers() -> impl Strategy<Value = Vec<(i64, Observation)>> {
        let observation = prop_oneof![
            Just(url("https://e/a")),
            Just(url("https://e/b")),
            Just(NO_URL),
            Just(Observation::NotListed),
            Just(refused("course/x")),
        ];
        proptest::collection::vec((1..1000_i64, observation), 1..20).prop_map(|mut steps| {
            let mut now = 0;
            for (step, _) in &mut steps {
                now += *step;
                *step = now;
            }
            steps
        })
    }

    #[test]
    fn what_is_known_beside_the_url_changes_by_a_value_and_goes_by_nothing() {
        let also = |financial_aid, language: Option<&str>| Also {
            eligible_for_financial_aid: financial_aid,
            language: language.map(str::to_owned),
        };
        let Observation::Url(url, _) = url("https://e/a") else { unreachable!() };
        let (known, changes) = play(&[
            (0, Observation::NoUrl(also(Some(true), None))),
            (1, Observation::Url(url, also(None, Some("en")))),
            (2, Observation::NotListed),
            (3, Observation::NoUrl(also(Some(false), None))),
            (4, NO_URL),
        ]);
        assert_eq!(
            changes[..2],
            [UrlChange::NoPage, UrlChange::Set],
            "it has no say in what becomes of the URL"
        );
        assert_eq!(known.unwrap().also, also(Some(false), Some("en")));
    }

    proptest! {
        #[test]
        fn a_url_in_force_goes_only_after_two_nulls_in_a_row_clear_after_apart(steps in answers()) {
            for end in 1..=steps.len() {
                let (_, changes) = play(&steps[..end]);
                if changes[end - 1] == UrlChange::Clear {
                    let nulls = steps[..end].iter().rev().take_while(|(_, o)| matches!(o, Observation::NoUrl(_)));
                    let first = nulls.last().unwrap().0;
                    prop_assert!(steps[end - 1].0 - first >= 900);
                }
            }
        }

        #[test]
        fn the_ledger_never_forgets_the_last_url(steps in answers()) {
            let (known, _) = play(&steps);
            let last = steps.iter().rev().find_map(|(_, o)| match o {
                Observation::Url(url, _) => Some(url.as_str().to_owned()),
                _ => None,
            });
            prop_assert_eq!(known.unwrap().url, last);
        }
    }
}
