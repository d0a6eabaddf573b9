//! The rows of an answer, and no more of them than memory is meant for.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Rows of an answer, at most; it keeps what an answer takes in memory near what it took on the wire.
const MOST_ROWS: usize = 1_000_000;

/// The rows as they stand in the body, up to [`MOST_ROWS`], and how many there are in all: rows of a byte or two would
/// take eight times the body.
pub(super) struct Results<'a> {
    /// The first of them.
    pub(super) rows: Vec<&'a RawValue>,
    /// How many there are.
    pub(super) count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Results<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Results<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Results<'de>, A::Error> {
                let mut rows = Vec::new();
                while rows.len() < MOST_ROWS {
                    let Some(row) = list.next_element()? else { break };
                    rows.push(row);
                }
                let mut count = rows.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Results { rows, count })
            }
        }
        deserializer.deserialize_seq(Rows)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::Defect;
    use super::super::list;
    use super::*;

    #[test]
    fn rows_beyond_the_limit_are_counted_and_not_kept() {
        let of = |rows: usize| format!("[{}0]", "0,".repeat(rows - 1));
        let many = of(MOST_ROWS + 2);
        let results: Results<'_> = serde_json::from_str(&many).unwrap();
        assert_eq!((results.rows.len(), results.count), (MOST_ROWS, MOST_ROWS + 2));
        let body = format!("{{\"count\": 1, \"results\": {}}}", of(MOST_ROWS + 1));
        assert_eq!(list(body.as_bytes(), None).unwrap_err(), Defect::Odd("it has 1000001 rows".to_owned()));
        assert_eq!(list(body.replacen("0,", "", 1).as_bytes(), None).unwrap().rows.len(), MOST_ROWS);
    }
}
