//! Query parameters as Django reads them, and links to other pages as REST framework builds them.

use std::collections::BTreeMap;

use url::form_urlencoded;

/// The parameters of a query: of several with one name the last, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// A raw `+` becomes a blank.
    pub(super) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Absent and empty are told apart.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number above 0; anything else is as good as absent.
    pub(super) fn positive(&self, name: &str) -> Option<usize> {
        self.get(name).and_then(|value| value.trim().parse().ok()).filter(|number| *number > 0)
    }

    /// The same query with other values (none: without that parameter), encoded anew, in the order of names:
    /// commas grow to `%2C`.
    pub(super) fn with(&self, changes: &[(&str, Option<usize>)]) -> String {
        let mut all = self.0.clone();
        for (name, value) in changes {
            match value {
                Some(value) => all.insert((*name).to_owned(), value.to_string()),
                None => all.remove(*name),
            };
        }
        form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish()
    }
}
