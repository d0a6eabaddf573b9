//! The envelope of an answer, read row by row: an answer with more rows than were asked for is given up at the first
//! row too many, and no row is kept longer than it takes to read it.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{List, Row, row};

/// Reads an envelope whose list has at most `most` rows.
pub(super) struct Envelope<'a> {
    pub(super) most: usize,
    /// Set if there are more.
    pub(super) too_many: &'a Cell<bool>,
}

struct Rows<'a>(Envelope<'a>);

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = List;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<List, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of runs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List, A::Error> {
        let (mut count, mut next, mut rows) = (None, None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "count" if count.is_none() => count = Some(map.next_value::<u64>()?),
                // As it stands: its value may be anything, of any size.
                "next" if next.is_none() => next = Some(map.next_value::<&RawValue>()?.get()),
                "results" if rows.is_none() => {
                    let Self { most, too_many } = self;
                    rows = Some(map.next_value_seed(Rows(Envelope { most, too_many }))?);
                }
                "count" | "next" | "results" => return Err(A::Error::custom("a field is there twice")),
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

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = Vec<Row>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Row>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Vec<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Row>, A::Error> {
        let mut rows = Vec::new();
        while let Some(raw) = list.next_element::<&RawValue>()? {
            if rows.len() == self.0.most {
                self.0.too_many.set(true);
                return Err(A::Error::custom("more rows than were asked for"));
            }
            rows.push(row(raw));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::Defect;
    use super::super::list;

    #[test]
    fn an_answer_with_more_rows_than_were_asked_for_is_given_up_at_the_first_of_them() {
        let body = |rows: &str| format!("{{\"count\": 1, \"results\": [{rows}");
        // What is behind the row too many is never looked at: this is no JSON.
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
