//! What must hold for any query for share links; see [`crate::fuzzing`].

use url::form_urlencoded;

use super::share_links;
use crate::fuzzing::is_short_line;
use crate::model::course_key::CourseKey;

/// The ids of a query are keys, at most a thousand, and are read again as the same ids; or the error is a short line.
pub fn share_links_query(data: &[u8]) {
    let query = String::from_utf8_lossy(data);
    let asked = match share_links::parse(share_links::ids_of_query(&query).into_iter()) {
        Ok(asked) => asked,
        Err(refusal) => return is_short_line(&refusal["error"].as_str().expect("the error is a text")),
    };
    assert!(asked.len() <= 1_000);
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (id, key) in &asked {
        assert_eq!(CourseKey::parse(id).as_ref(), Ok(key));
        written.append_pair("course_id", id);
    }
    let again = share_links::parse(share_links::ids_of_query(&written.finish()).into_iter());
    assert_eq!(again, Ok(asked));
}
