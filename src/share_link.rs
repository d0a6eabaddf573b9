//! Which link a course is shared by, in the order of the LMS's `get_link_for_about_page`, so that both answer alike.

use serde::Serialize;

use crate::config;
use crate::store::Overview;

/// A link to share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShareLink {
    /// An absolute URL.
    pub url: String,
    /// Where it comes from.
    pub source: LinkSource,
}

/// Where a link comes from, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum LinkSource {
    /// `social_sharing_url`, which the course team set.
    Social,
    /// `marketing_url`, which this program keeps.
    Marketing,
    /// The LMS's own About page.
    About,
}

impl LinkSource {
    /// Its name in every output.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The link for the course of this row, from its two columns and the LMS's flags. An empty text is no URL.
///
/// The About page's URL has the key as the LMS writes it: no `+` or `:` encoded, no slash at the end.
pub fn of(row: &Overview, lms: &config::Lms) -> ShareLink {
    let social = row.social_sharing_url.clone().filter(|url| lms.custom_course_urls && !url.is_empty());
    let marketing = row.marketing_url.clone().filter(|url| lms.marketing_site && !url.is_empty());
    match (social, marketing) {
        (Some(url), _) => ShareLink { url, source: LinkSource::Social },
        (None, Some(url)) => ShareLink { url, source: LinkSource::Marketing },
        (None, None) => {
            let root = lms.root_url.as_str().trim_end_matches('/');
            ShareLink { url: format!("{root}/courses/{}/about", row.course), source: LinkSource::About }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::course_key::CourseKey;
    use crate::model::extra_columns::Also;

    const CASES: &str = include_str!("../tests/fixtures/lms/share-link-cases.csv");
    const COURSE: &str = "course-v1:edX+DemoX+2026";
    const ABOUT: &str = "https://lms.example/courses/course-v1:edX+DemoX+2026/about";

    fn lms(root: &str, custom_course_urls: bool, marketing_site: bool) -> config::Lms {
        config::Lms { root_url: root.parse().unwrap(), custom_course_urls, marketing_site }
    }

    fn resolve(course: &str, social: Option<&str>, marketing: Option<&str>, lms: &config::Lms) -> ShareLink {
        let row = Overview {
            course: CourseKey::parse(course).unwrap(),
            social_sharing_url: social.map(str::to_owned),
            marketing_url: marketing.map(str::to_owned),
            also: Also::NOTHING,
        };
        of(&row, lms)
    }

    #[test]
    fn the_lms_own_cases_come_out_the_same() {
        let mut cases = 0;
        for line in CASES.lines().skip(1) {
            let [custom, site, social, marketing, expected] = line.split(',').collect::<Vec<_>>()[..] else {
                panic!("five columns expected: {line}");
            };
            let lms = lms("https://lms.example", custom == "true", site == "true");
            let expected = if expected == "ABOUT" { ABOUT } else { expected };
            // The file's empty column stands for null and for an empty text: readers treat both alike.
            let texts =
                |text: &'static str| if text.is_empty() { vec![None, Some("")] } else { vec![Some(text)] };
            for social in texts(social) {
                for marketing in texts(marketing) {
                    assert_eq!(resolve(COURSE, social, marketing, &lms).url, expected, "{line}");
                }
            }
            cases += 1;
        }
        assert_eq!(cases, 9);
    }

    #[test]
    fn the_source_names_the_column() {
        let lms = lms("https://lms.example", true, true);
        let source = |social, marketing| resolve(COURSE, social, marketing, &lms).source;
        assert_eq!(source(Some("s"), Some("m")), LinkSource::Social);
        assert_eq!(source(None, Some("m")), LinkSource::Marketing);
        assert_eq!(source(None, None), LinkSource::About);
        assert_eq!(serde_json::to_string(&LinkSource::About).unwrap(), "\"about\"");
    }

    #[test]
    fn the_root_may_end_with_a_slash_or_have_a_path() {
        for root in ["https://lms.example", "https://lms.example/"] {
            assert_eq!(resolve(COURSE, None, None, &lms(root, true, true)).url, ABOUT);
        }
        let below = lms("https://campus.example/lms/", true, true);
        assert_eq!(
            resolve("ÉcoleX/Français/2012", None, None, &below).url,
            "https://campus.example/lms/courses/ÉcoleX/Français/2012/about"
        );
    }
}
