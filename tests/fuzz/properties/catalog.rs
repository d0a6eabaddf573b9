//! Properties of any answer of the Catalog; see [`crate::fuzzing`].

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::backoff::Pauses;
use super::error::Defect;
use super::look_up::observe;
use super::observation::Observation;
use super::rate_limiter::bounded_pause;
use super::transport;
use super::wire::{self, ListedRun, Page};
use crate::fuzzing::is_short_line;
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::{Also, AlsoColumn};
use crate::model::marketing_url::UrlPolicy;

/// A token that a body may echo. Neither JSON nor the quoting changes its letters.
const TOKEN: &str = "t0k3n-71af";
/// Rows asked for.
const MOST_ROWS: usize = 50;

/// An answer takes no more memory than its body, and stays the same when it is written and read again. A run counts as not
/// listed only where the answer is complete.
pub fn wire(data: &[u8]) {
    let mut page = match read(data, Some(TOKEN)) {
        Ok(page) => page,
        Err(defect) => {
            is_short_line(&defect);
            return assert!(!defect.to_string().contains(TOKEN), "{defect}");
        }
    };
    assert!(page.rows.len() <= MOST_ROWS);
    assert!(page.rows.iter().map(bytes).sum::<usize>() <= data.len());
    page.rows.iter().filter_map(|run| run.key.as_ref().err()).for_each(|error| is_short_line(error));
    observations_are_sound(data, &page);
    // Of the others not all is kept.
    page.rows.retain(|run| run.key.is_ok() && !matches!(run.observation, Observation::Refused(_)));
    let again = read(written(&page).to_string().as_bytes(), None).expect("what was written is a list");
    assert_eq!((again.count, again.has_next), (page.count, page.has_next));
    assert_eq!(format!("{:?}", again.rows), format!("{:?}", page.rows), "read again from {}", written(&page));
}

fn read(data: &[u8], secret: Option<&str>) -> Result<Page, Defect> {
    wire::read(data, MOST_ROWS, secret, &|raw| wire::run(raw, &UrlPolicy::default(), &AlsoColumn::ALL))
}

fn also(run: &ListedRun) -> Option<&Also> {
    match &run.observation {
        Observation::Url(_, also) | Observation::NoUrl(also) => Some(also),
        _ => None,
    }
}

fn bytes(run: &ListedRun) -> usize {
    let url = if let Observation::Url(url, _) = &run.observation { url.as_str().len() } else { 0 };
    let language = also(run).and_then(|also| also.language.as_ref()).map_or(0, String::len);
    run.key.as_ref().map_or(0, |key| key.as_str().len()) + url + language
}

fn written(page: &Page) -> Value {
    let row = |run: &ListedRun| {
        let mut fields = serde_json::Map::new();
        let key = run.key.as_ref().map_or("", CourseKey::as_str);
        fields.insert("key".to_owned(), key.into());
        match &run.observation {
            Observation::Url(url, _) => drop(fields.insert("marketing_url".to_owned(), url.as_str().into())),
            Observation::NoUrl(_) => drop(fields.insert("marketing_url".to_owned(), Value::Null)),
            _ => {}
        }
        let odd = |column| run.odd.contains(&column).then(|| json!([]));
        let aid = odd(AlsoColumn::EligibleForFinancialAid);
        let language = odd(AlsoColumn::Language);
        let also = also(run).unwrap_or(&Also::NOTHING);
        fields.insert(
            "eligible_for_financial_aid".to_owned(),
            aid.unwrap_or_else(|| also.eligible_for_financial_aid.into()),
        );
        fields.insert(
            "content_language".to_owned(),
            language.unwrap_or_else(|| also.language.as_deref().into()),
        );
        Value::Object(fields)
    };
    json!({
        "count": page.count,
        "next": page.has_next.then_some("https://catalog.example/?offset=1"),
        "results": page.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn observations_are_sound(data: &[u8], page: &Page) {
    let asked: Vec<RunKey> = ["course-v1:a+b+c", "course-v1:A+b+c", "a/b/c"]
        .iter()
        .filter_map(|key| CourseKey::parse(key).ok())
        .map(|key| key.run_key())
        .collect();
    let named: Vec<bool> = asked
        .iter()
        .map(|key| page.rows.iter().any(|run| run.key.as_ref().is_ok_and(|listed| listed.own_key() == *key)))
        .collect();
    let is_complete =
        !page.has_next && page.count == page.rows.len() as u64 && page.rows.iter().all(ListedRun::is_named);
    let observed = observe(read(data, None).expect("it was read before"), &asked);
    assert_eq!(observed.len(), asked.len());
    for (key, named) in asked.iter().zip(named) {
        match &observed[key] {
            Observation::NotListed => assert!(is_complete && !named, "{key} is not known to be absent"),
            Observation::Url(..) | Observation::NoUrl(_) => assert!(named, "{key} was not in the answer"),
            Observation::Refused(refused) => {
                assert!(named, "{key} was not in the answer");
                assert!(
                    refused.url.chars().count() <= 301 && refused.why.chars().count() <= 301,
                    "{refused:?}"
                );
            }
            Observation::Unknown(why) => is_short_line(why),
        }
    }
}

/// No `Retry-After` makes the worker wait longer than an hour, or one request longer than thirty seconds.
pub fn retry_after(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Sunday, 22 November 2026, 16:00: a date in the input means the same every day.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_363_200);
    let Some(pause) = transport::retry_after(text, now) else { return };
    let digits = text.trim();
    match digits.parse::<u64>() {
        Ok(seconds) => assert_eq!(pause, Duration::from_secs(seconds)),
        Err(_) => assert!(now.checked_add(pause).is_some(), "{pause:?}"),
    }
    assert!(Pauses::new().pause(Some(pause)).is_none_or(|pause| pause < Duration::from_secs(30)));
    assert!(bounded_pause(pause) <= Duration::from_secs(3600), "{pause:?}");
}
