//! What the user may do beyond what is needed. Pure: rights in, words out.

use super::{Held, Need, On};

/// What of `held` no need asks for, in words: the rights on each thing.
pub(super) fn beyond(needs: &[Need], held: &[Held]) -> Vec<String> {
    let mut beyond: Vec<(String, Vec<String>)> = Vec::new();
    for held in held {
        let Some((right, on)) = surplus(held, needs) else { continue };
        match beyond.iter_mut().find(|(known, _)| *known == on) {
            Some((_, rights)) if rights.contains(&right) => {}
            Some((_, rights)) => rights.push(right),
            None => beyond.push((on, vec![right])),
        }
    }
    beyond.into_iter().map(|(on, rights)| format!("{} on {on}", rights.join(", "))).collect()
}

/// The part of a right that no need asks for: the right, and on what, in words.
fn surplus(held: &Held, needs: &[Need]) -> Option<(String, String)> {
    let right = held.right.clone();
    let table = match &held.on {
        On::Table(table) => table,
        On::Elsewhere(on) => return Some((right, on.clone())),
    };
    let Some(need) = needs.iter().find(|need| need.right == held.right && need.table == *table) else {
        return Some((right, table.clone()));
    };
    if need.columns.is_empty() {
        return None;
    }
    if held.columns.is_empty() {
        return Some((right, format!("every column of {table}")));
    }
    let more: Vec<&str> =
        held.columns.iter().filter(|column| !need.columns.contains(column)).map(String::as_str).collect();
    (!more.is_empty()).then(|| (format!("{right} ({})", more.join(", ")), table.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::{ALL, Needs};
    use super::*;

    const LMS: &str = "course_overviews_courseoverview";

    fn held(right: &str, on: On, columns: &[&str]) -> Held {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Held { right: right.to_owned(), on, columns }
    }

    fn on(table: &str) -> On {
        On::Table(table.to_owned())
    }

    fn least() -> Vec<Held> {
        let needs = Needs::default();
        let least = needs.list().iter();
        least
            .map(|n| Held { right: n.right.to_owned(), on: on(&n.table), columns: n.columns.clone() })
            .collect()
    }

    fn words(held: &[Held]) -> Vec<String> {
        beyond(Needs::default().list(), held)
    }

    #[test]
    fn the_least_rights_are_not_too_much() {
        assert_eq!(words(&least()), Vec::<String>::new());
    }

    #[test]
    fn a_right_on_everything_is_too_much() {
        let all = [held(ALL, On::Elsewhere("*.*".to_owned()), &[])];
        assert_eq!(words(&all), ["ALL PRIVILEGES on *.*"]);
    }

    #[test]
    fn what_is_too_much_is_named_by_right_column_and_table() {
        let mut more = least();
        more.push(held("SELECT", on(LMS), &["id", "org"]));
        more.push(held("UPDATE", on(LMS), &[]));
        more.push(held("DELETE", on(LMS), &[]));
        more.push(held("SELECT", on("auth_user"), &[]));
        more.push(held("UPDATE", on("auth_user"), &["email"]));
        let beyond = [
            format!("SELECT (org), DELETE on {LMS}"),
            format!("UPDATE on every column of {LMS}"),
            "SELECT, UPDATE on auth_user".to_owned(),
        ];
        assert_eq!(words(&more), beyond);
    }
}
