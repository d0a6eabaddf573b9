//! Properties of any answer of the Catalog; see [`crate::fuzzing`].

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::backoff::Pauses;
use super::observation::{Observation, listed_key, observe};
use super::rate_limiter::bounded_pause;
use super::transport;
use super::wire::{self, List, Listed, Row};
use crate::fuzzing::is_short_line;
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::AlsoColumn;
use crate::model::marketing_url::UrlPolicy;

/// A token that a body may echo. Neither JSON nor the quoting changes its letters.
const TOKEN: &str = "t0k3n-71af";
/// Rows asked for.
const MOST_ROWS: usize = 50;

/// An answer takes no more memory than its body, and stays the same when it is written and read again. A run counts as not
/// listed only where the answer is complete.
pub fn wire(data: &[u8]) {
    let list = match wire::list(data, MOST_ROWS, Some(TOKEN)) {
        Ok(list) => list,
        Err(defect) => {
            is_short_line(&defect);
            return assert!(!defect.to_string().contains(TOKEN), "{defect}");
        }
    };
    assert!(list.rows.len() <= MOST_ROWS);
    assert!(list.rows.iter().map(bytes).sum::<usize>() <= data.len());
    let again = wire::list(written(&list).to_string().as_bytes(), MOST_ROWS, None)
        .expect("what was written is a list");
    assert_eq!(
        (again.count, again.has_next, &again.rows),
        (list.count, list.has_next, &list.rows),
        "read again from {}",
        written(&list)
    );
    for row in &list.rows {
        match listed_key(row) {
            Ok(key) => assert_eq!(row.key.as_deref(), Some(key.as_str())),
            Err(error) => is_short_line(&error),
        }
    }
    observations_are_sound(&list);
}

fn bytes(row: &Row) -> usize {
    let url = if let Listed::Text(url) = &row.url { url.len() } else { 0 };
    row.key.as_ref().map_or(0, String::len) + url + row.also.language.as_ref().map_or(0, String::len)
}

fn written(list: &List) -> Value {
    let row = |row: &Row| {
        let mut fields = serde_json::Map::new();
        if let Some(key) = &row.key {
            fields.insert("key".to_owned(), key.as_str().into());
        }
        match &row.url {
            Listed::Text(url) => drop(fields.insert("marketing_url".to_owned(), url.as_str().into())),
            Listed::Null => drop(fields.insert("marketing_url".to_owned(), Value::Null)),
            Listed::Odd => {}
        }
        let odd = |column| row.odd.contains(&column).then(|| json!([]));
        let aid = odd(AlsoColumn::EligibleForFinancialAid);
        let language = odd(AlsoColumn::Language);
        fields.insert(
            "eligible_for_financial_aid".to_owned(),
            aid.unwrap_or_else(|| row.also.eligible_for_financial_aid.into()),
        );
        fields.insert(
            "content_language".to_owned(),
            language.unwrap_or_else(|| row.also.language.as_deref().into()),
        );
        Value::Object(fields)
    };
    json!({
        "count": list.count,
        "next": list.has_next.then_some("https://catalog.example/?offset=1"),
        "results": list.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn observations_are_sound(list: &List) {
    let asked: Vec<RunKey> = ["course-v1:a+b+c", "course-v1:A+b+c", "a/b/c"]
        .iter()
        .filter_map(|key| CourseKey::parse(key).ok())
        .map(|key| key.run_key())
        .collect();
    let named: Vec<bool> = asked
        .iter()
        .map(|key| list.rows.iter().any(|row| row.key.as_deref() == Some(key.as_str())))
        .collect();
    let is_complete = !list.has_next
        && list.count == list.rows.len() as u64
        && list.rows.iter().all(|row| row.key.is_some());
    let observed = observe(list, &asked, &UrlPolicy::default());
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
