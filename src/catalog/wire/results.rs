//! Reads the envelope of an answer row by row, and stops at the first row more than were asked for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::List;

/// How the error for more rows than were asked for begins.
pub(super) const TOO_MANY: &str = "more rows than were asked for";

/// Reads an envelope with at most `most` rows, each by `row`.
pub(super) struct Envelope<T> {
    pub(super) most: usize,
    pub(super) row: fn(&RawValue) -> T,
}

/// Reads an array of at most `most` elements, each by `row`.
pub(super) struct Rows<T> {
    pub(super) most: usize,
    pub(super) row: fn(&RawValue) -> T,
}

impl<'de, T> DeserializeSeed<'de> for Envelope<T> {
    type Value = List<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<List<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T> Visitor<'de> for Envelope<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List<T>, A::Error> {
        let (mut count, mut next, mut rows) = (None, None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "count" if count.is_none() => count = Some(map.next_value::<u64>()?),
                // Not parsed: the value may be of any type and size.
                "next" if next.is_none() => next = Some(map.next_value::<&RawValue>()?.get()),
                "results" if rows.is_none() => {
                    rows = Some(map.next_value_seed(Rows { most: self.most, row: self.row })?);
                }
                "count" | "next" | "results" => return Err(A::Error::custom("a field is duplicated")),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let has_next = !matches!(next, None | Some("null" | "\"\""));
        match (count, rows) {
            (Some(count), Some(rows)) => Ok(List { count, has_next, rows }),
            _ => Err(A::Error::custom("count or results is missing")),
        }
    }
}

impl<'de, T> DeserializeSeed<'de> for Rows<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T> Visitor<'de> for Rows<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut rows = Vec::new();
        while let Some(raw) = list.next_element::<&RawValue>()? {
            if rows.len() == self.most {
                return Err(A::Error::custom(TOO_MANY));
            }
            rows.push((self.row)(raw));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::Defect;
    use super::super::list;

    #[test]
    fn reading_stops_at_the_first_row_more_than_were_asked_for() {
        let body = |rows: &str| format!("{{\"count\": 1, \"results\": [{rows}");
        // What follows that row is not read: this is not JSON.
        let error = list(body("0,0,0,!!!").as_bytes(), 2, None).unwrap_err();
        assert_eq!(error, Defect::Odd("it has more rows than the 2 that were asked for".to_owned()));
        assert_eq!(list(body("0,0]}").as_bytes(), 2, None).unwrap().rows.len(), 2);
    }

    #[test]
    fn the_next_page_is_there_or_not() {
        for (next, has_next) in
            [("null", false), ("\"\"", false), ("\"https://x/?page=2\"", true), ("[0]", true)]
        {
            let body = format!("{{\"next\": {next}, \"count\": 1, \"results\": [], \"more\": {{}}}}");
            assert_eq!(list(body.as_bytes(), 1, None).unwrap().has_next, has_next, "{next}");
        }
        assert!(!list(b"{\"count\": 1, \"results\": []}", 1, None).unwrap().has_next);
        assert!(list(b"{\"count\": 1, \"count\": 1, \"results\": []}", 1, None).is_err());
    }
}
