//! Course keys as Open edX writes them, parsed once at the border and compared byte for byte ever after.
//!
//! Forms and alphabet are those of `opaque-keys` and `ccx-keys`. Databases with a `*_ci` collation, and the
//! Catalog's `keys=` filter, compare without case or accents; these types are what keeps two such runs apart.

use std::fmt;
use std::sync::Arc;

use super::text::cut;

/// The longest key, in characters, that fits the LMS's `varchar(255)`.
pub(crate) const MAX_CHARS: usize = 255;

/// The key of a course run as the LMS knows it: `course-v1:ORG+COURSE+RUN`, `ORG/COURSE/RUN`, or a custom
/// course, `ccx-v1:ORG+COURSE+RUN+ccx@N`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CourseKey(Arc<str>);

/// The key of a run as the Catalog and the ledger know it. That of a custom course stands only for a listing of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunKey(Arc<str>);

/// Characters of such a text that an error shows.
const SHOWN: usize = 80;

/// Why a text is not the key of a course run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CourseKeyError {
    /// A well-formed key of something that is no course run (a library, a block, an asset): nothing to do.
    #[error("{0:?} is the key of something that is no course run")]
    NotARun(String),
    /// No key at all.
    #[error("{text:?} is not a course key: {why}")]
    Malformed {
        /// The text, cut to a length fit for a log line.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl CourseKey {
    /// Reads a key of any of the three forms. The tails `+branch@…` and `+version@…` are dropped, as they name
    /// a version of the course and not another run.
    ///
    /// # Errors
    /// [`CourseKeyError::NotARun`] for keys of libraries, blocks and other things that are not course runs;
    /// [`CourseKeyError::Malformed`] for anything else.
    pub fn parse(text: &str) -> Result<Self, CourseKeyError> {
        let malformed = |why| CourseKeyError::Malformed { text: cut(text, SHOWN), why };
        if text.is_empty() {
            return Err(malformed("it is empty"));
        }
        if text.chars().count() > MAX_CHARS {
            return Err(malformed("it is longer than 255 characters"));
        }
        if let Some(rest) = text.strip_prefix("course-v1:") {
            let run = without_version(rest);
            return match parts(run, '+', is_new_style) {
                3 => Ok(Self(text[..text.len() - rest.len() + run.len()].into())),
                _ => Err(malformed("expected course-v1:ORG+COURSE+RUN")),
            };
        }
        if let Some(rest) = text.strip_prefix("ccx-v1:") {
            let run = without_version(rest);
            return match run.rsplit_once("+ccx@") {
                Some((parent, id))
                    if parts(parent, '+', is_new_style) == 3
                        && !id.is_empty()
                        && id.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    Ok(Self(format!("ccx-v1:{run}").into()))
                }
                _ => Err(malformed("expected ccx-v1:ORG+COURSE+RUN+ccx@NUMBER")),
            };
        }
        if parts(text, '/', is_old_style) == 3 {
            return Ok(Self(text.into()));
        }
        match text.split_once(':') {
            Some((namespace, rest)) if is_namespace(namespace) && !rest.is_empty() => {
                Err(CourseKeyError::NotARun(cut(text, SHOWN)))
            }
            _ => Err(malformed(
                "expected course-v1:ORG+COURSE+RUN, ccx-v1:ORG+COURSE+RUN+ccx@N or ORG/COURSE/RUN",
            )),
        }
    }

    /// The run whose URL this course shares first: the parent of a custom course, and every other key itself.
    pub fn run_key(&self) -> RunKey {
        match self.0.strip_prefix("ccx-v1:").and_then(|rest| rest.rsplit_once("+ccx@")) {
            Some((parent, _)) => RunKey(format!("course-v1:{parent}").into()),
            None => RunKey(self.0.clone()),
        }
    }

    /// The key itself as a run's. A custom course shares the URL of this listing where its parent's gives none.
    pub fn own_key(&self) -> RunKey {
        RunKey(self.0.clone())
    }
}

/// What both kinds of keys have.
macro_rules! key {
    ($key:ty) => {
        impl $key {
            /// True for a custom course of a coach (`ccx-v1:…`).
            pub(crate) fn is_ccx(&self) -> bool {
                self.0.starts_with("ccx-v1:")
            }

            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
key!(CourseKey);
key!(RunKey);

impl std::str::FromStr for CourseKey {
    type Err = CourseKeyError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn without_version(rest: &str) -> &str {
    let cut = [rest.find("+branch@"), rest.find("+version@")].into_iter().flatten().min();
    cut.map_or(rest, |at| &rest[..at])
}

/// How many parts `text` has between `separator`s; none at all if one of them is empty or has a strange character.
fn parts(text: &str, separator: char, allowed: fn(char) -> bool) -> usize {
    let is_sound = |part: &str| !part.is_empty() && part.chars().all(allowed);
    if text.split(separator).all(is_sound) { text.split(separator).count() } else { 0 }
}

fn is_new_style(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '~' | '.' | ':')
}

fn is_old_style(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '%')
}

fn is_namespace(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_forms_are_read_and_kept_as_they_are() {
        for key in [
            "course-v1:edX+DemoX+2026",
            "ÉcoleX/Français/2012",
            "course-v1:A~b.c-d:e+x_1+é",
            "AcmeX/CS100/2013_Spring",
        ] {
            assert_eq!(CourseKey::parse(key).unwrap().as_str(), key);
            assert_eq!(CourseKey::parse(key).unwrap().run_key().as_str(), key);
        }
    }

    #[test]
    fn a_custom_course_belongs_to_its_parent() {
        let ccx = CourseKey::parse("ccx-v1:AcmeX+CS100+2025_T1+ccx@42").unwrap();
        assert!(ccx.is_ccx());
        assert_eq!(ccx.run_key().as_str(), "course-v1:AcmeX+CS100+2025_T1");
        assert_eq!(ccx.own_key().as_str(), ccx.as_str());
    }

    #[test]
    fn versions_are_dropped() {
        for (text, key) in [
            ("course-v1:a+b+c+branch@draft-branch", "course-v1:a+b+c"),
            ("course-v1:a+b+c+version@519665f6223ebd6980884f2b", "course-v1:a+b+c"),
            ("course-v1:a+b+c+branch@d+version@5", "course-v1:a+b+c"),
            ("ccx-v1:a+b+c+ccx@1+branch@d", "ccx-v1:a+b+c+ccx@1"),
        ] {
            assert_eq!(CourseKey::parse(text).unwrap().as_str(), key);
        }
    }

    #[test]
    fn what_is_no_run_is_told_from_what_is_no_key() {
        for other in ["library-v1:edX+lib", "lib:edX:lib", "block-v1:a+b+c+type@html+block@x"] {
            assert!(matches!(CourseKey::parse(other), Err(CourseKeyError::NotARun(_))), "{other}");
        }
        for bad in [
            "",
            "x",
            "course-v1:",
            "course-v1:a+b",
            "course-v1:a+b+c+d",
            "course-v1:a+ b+c",
            "course-v1:a+b+",
            "a/b",
            "a/b/c/d",
            "ccx-v1:a+b+c",
            "ccx-v1:a+b+c+ccx@",
            "ccx-v1:a+b+c+ccx@x",
            "a b/c/d",
            "course-v1:a,b+c+d",
            " course-v1:a+b+c",
            "<script>",
            "COURSE-V1:a+b+c",
        ] {
            assert!(matches!(CourseKey::parse(bad), Err(CourseKeyError::Malformed { .. })), "{bad}");
        }
        let long = format!("course-v1:a+b+{}", "c".repeat(255));
        assert!(matches!(CourseKey::parse(&long), Err(CourseKeyError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn parsing_is_total_and_stable(text in "\\PC{0,60}|(course|ccx|lib)-v1:[a-zé+@0-9:]{0,40}") {
            if let Ok(key) = CourseKey::parse(&text) {
                prop_assert_eq!(&CourseKey::parse(key.as_str()).unwrap(), &key);
                let run = key.run_key();
                let of_run = CourseKey::parse(run.as_str()).unwrap();
                prop_assert!(!of_run.is_ccx());
                prop_assert_eq!(of_run.run_key(), run);
                prop_assert_eq!(CourseKey::parse(key.own_key().as_str()).unwrap(), key);
            }
        }
    }
}
