//! The verdict: what is missing, and what is too much.

use super::{ALL, Held, Need, On, Rights};

/// Compares what is needed with what there is.
pub(super) fn judge(needs: &[Need], held: &[Held], user: String) -> Rights {
    let missing = needs.iter().filter_map(|need| lacking(need, held)).collect();
    let mut beyond: Vec<(String, Vec<String>)> = Vec::new();
    for held in held {
        let Some((right, on)) = surplus(held, needs) else { continue };
        match beyond.iter_mut().find(|(known, _)| *known == on) {
            Some((_, rights)) if rights.contains(&right) => {}
            Some((_, rights)) => rights.push(right),
            None => beyond.push((on, vec![right])),
        }
    }
    let beyond = beyond.into_iter().map(|(on, rights)| format!("{} on {on}", rights.join(", "))).collect();
    Rights { missing, beyond, user }
}

/// The part of a need that nothing covers.
fn lacking(need: &Need, held: &[Held]) -> Option<Need> {
    let covers = |held: &Held, column: Option<&String>| {
        let on = match &held.on {
            On::Everything(_) => true,
            On::Table(table) => *table == need.table,
            On::Elsewhere(_) => false,
        };
        let columns = held.columns.is_empty() || column.is_some_and(|column| held.columns.contains(column));
        on && columns && (held.right == need.right || held.right == ALL)
    };
    if need.columns.is_empty() {
        return (!held.iter().any(|held| covers(held, None))).then(|| need.clone());
    }
    let columns = need.columns.iter().filter(|column| !held.iter().any(|held| covers(held, Some(column))));
    let columns: Vec<String> = columns.cloned().collect();
    (!columns.is_empty()).then(|| Need { columns, ..need.clone() })
}

/// The part of a right that no need asks for: the right, and on what, in words.
fn surplus(held: &Held, needs: &[Need]) -> Option<(String, String)> {
    let right = held.right.clone();
    let table = match &held.on {
        On::Table(table) => table,
        // Whatever is needed of it, a right on everything is on more than that.
        On::Everything(on) | On::Elsewhere(on) => return Some((right, on.clone())),
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
    use super::super::Needs;
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
        needs
            .list()
            .iter()
            .map(|n| Held { right: n.right.to_owned(), on: on(&n.table), columns: n.columns.clone() })
            .collect()
    }

    fn verdict(held: &[Held]) -> (Vec<String>, Vec<String>) {
        let rights = judge(Needs::default().list(), held, "'u'@'%'".to_owned());
        (rights.missing.iter().map(Need::to_string).collect(), rights.beyond)
    }

    #[test]
    fn the_least_rights_are_neither_too_little_nor_too_much() {
        assert_eq!(verdict(&least()), (vec![], vec![]));
    }

    #[test]
    fn each_right_that_is_taken_away_is_the_one_named() {
        for (n, need) in Needs::default().list().iter().enumerate() {
            let mut held = least();
            held.remove(n);
            assert_eq!(verdict(&held).0, [need.to_string()]);
        }
        let mut held = least();
        held[0].columns.remove(0);
        assert_eq!(verdict(&held).0, [format!("SELECT (id) ON {LMS}")]);
    }

    #[test]
    fn a_right_on_everything_covers_all_and_is_too_much() {
        let all = [held(ALL, On::Everything("*.*".to_owned()), &[])];
        assert_eq!(verdict(&all), (vec![], vec!["ALL PRIVILEGES on *.*".to_owned()]));
        let one = held("SELECT", On::Everything("lms.*".to_owned()), &[]);
        let (missing, beyond) = verdict(&[one]);
        assert!(missing.iter().all(|need| !need.starts_with("SELECT")), "{missing:?}");
        assert_eq!(beyond, ["SELECT on lms.*"]);
        let elsewhere = held(ALL, On::Elsewhere("other.*".to_owned()), &[]);
        assert_eq!(verdict(&[elsewhere]).0.len(), Needs::default().list().len());
    }

    #[test]
    fn what_is_too_much_is_told_by_right_column_and_table() {
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
        assert_eq!(verdict(&more), (vec![], beyond.to_vec()));
    }

    #[test]
    fn a_right_on_a_whole_table_covers_its_columns() {
        let mut held_ = least();
        held_[0] = held("SELECT", on(LMS), &[]);
        held_[1] = held(ALL, on(LMS), &[]);
        assert_eq!(verdict(&held_).0, Vec::<String>::new());
    }
}
