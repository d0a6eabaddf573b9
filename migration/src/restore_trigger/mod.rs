//! The restore trigger, which nobody gets who does not ask for it: in the LMS's own transaction it gives a row of
//! `course_overviews_courseoverview` that is inserted or saved the link that the ledger has for it, as heal does later.
//! It never makes the LMS's statement fail. `ops/reference/restore-trigger.md` has what it costs and where it ends.

mod parts;
mod standing;

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};

pub use self::parts::VERSION;
pub use self::standing::{State, obstacle, state};

use self::parts::{Part, parts};
use self::standing::{Standing, schema_of_ledger, standing};
use crate::planned::{LOCK_WAIT_SECONDS, Planned, waiting};

/// What all names of its parts begin with; the number of the version follows.
const PREFIX: &str = "course_sharing_restore_v";

/// What is done to the trigger before the program's tables change, and after. A table that a trigger reads may not be
/// changed on SQLite, and elsewhere the change would wait for transactions of the LMS.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) before: Vec<Planned>,
    pub(crate) after: Vec<Planned>,
}

impl Around {
    /// `asked`: it shall stand afterwards. `changes`: the program's tables are going to change. One that stands is never
    /// lost, and where neither holds it is left as it is.
    pub(crate) async fn up<C: ConnectionTrait>(db: &C, asked: bool, changes: bool) -> Result<Self, DbErr> {
        let backend = db.get_database_backend();
        let standing = standing(db).await?;
        let is_there = standing.iter().any(|part| part.kind == "TRIGGER");
        let is_in_the_way = changes && is_there;
        if !asked && !is_in_the_way {
            return Ok(Self::default());
        }
        let wanted = parts(backend, &schema_of_ledger(db).await?);
        if is_in_the_way {
            let (before, after) = (drop_all(backend, &standing), make(backend, &wanted, &[]));
            return Ok(Self { before, after });
        }
        Ok(Self { before: Vec::new(), after: make(backend, &wanted, &standing) })
    }

    /// What takes it away.
    pub(crate) async fn down<C: ConnectionTrait>(db: &C) -> Result<Vec<Planned>, DbErr> {
        Ok(drop_all(db.get_database_backend(), &standing(db).await?))
    }
}

/// The statements after which the wanted parts stand and no other; none if that is so. MySQL commits each by itself, so
/// there a new version stands before the old one goes. On SQLite all is made again, as the one part has what is old where
/// another was missing.
fn make(backend: DbBackend, wanted: &[Part], standing: &[Standing]) -> Vec<Planned> {
    let is_wanted = |part: &&Standing| wanted.iter().any(|other| part.is(other));
    let stands = |part: &&Part| standing.iter().any(|other| other.is(part));
    let mut others: Vec<Standing> = standing.iter().filter(|part| !is_wanted(part)).cloned().collect();
    let mut missing: Vec<&Part> = wanted.iter().filter(|part| !stands(part)).collect();
    if missing.is_empty() && others.is_empty() {
        return Vec::new();
    }
    if backend == DbBackend::Sqlite {
        (others, missing) = (standing.to_vec(), wanted.iter().collect());
    }
    let create = missing.into_iter().flat_map(|part| part.make.iter().cloned());
    let drop = others.iter().map(|part| part.drop(backend));
    let statements = match backend {
        DbBackend::MySql => create.chain(drop).collect(),
        _ => drop.chain(create).collect(),
    };
    bounded(backend, "The LMS's table course_overviews_courseoverview gets the restore trigger.", statements)
}

fn drop_all(backend: DbBackend, standing: &[Standing]) -> Vec<Planned> {
    if standing.is_empty() {
        return Vec::new();
    }
    let statements = standing.iter().map(|part| part.drop(backend)).collect();
    bounded(backend, "The LMS's table course_overviews_courseoverview loses the restore trigger.", statements)
}

/// With a limit on how long the LMS's statements wait in line behind these.
fn bounded(backend: DbBackend, about: &str, statements: Vec<String>) -> Vec<Planned> {
    let (limit, back, lock) = match backend {
        DbBackend::MySql => (
            format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}"),
            "SET SESSION lock_wait_timeout = DEFAULT",
            "a metadata lock",
        ),
        DbBackend::Postgres => {
            (format!("SET lock_timeout = '{LOCK_WAIT_SECONDS}s'"), "RESET lock_timeout", "ACCESS EXCLUSIVE")
        }
        _ => {
            let mut planned: Vec<Planned> = statements.into_iter().map(Planned::plain).collect();
            planned.iter_mut().take(1).for_each(|first| first.note.push(about.to_owned()));
            return planned;
        }
    };
    let note = [vec![about.to_owned()], waiting(lock)].concat();
    let first = Planned { note, sql: limit, or: Vec::new() };
    let statements = statements.into_iter().chain([back.to_owned()]).map(Planned::plain);
    std::iter::once(first).chain(statements).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKENDS: [DbBackend; 3] = [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite];

    fn all_of(version: u32, backend: DbBackend) -> Vec<Standing> {
        let rename = |name: String| name.replace(&format!("_v{VERSION}"), &format!("_v{version}"));
        let parts = parts(backend, "public").into_iter();
        parts
            .rev()
            .map(|part| Standing {
                kind: part.kind.to_owned(),
                name: rename(part.name),
                definer: None,
                is_off: false,
            })
            .collect()
    }

    fn sql(planned: &[Planned]) -> Vec<&str> {
        planned.iter().map(|step| step.sql.as_str()).collect()
    }

    #[test]
    fn where_all_parts_stand_there_is_nothing_to_do() {
        for backend in BACKENDS {
            assert_eq!(make(backend, &parts(backend, "public"), &all_of(VERSION, backend)), []);
        }
    }

    #[test]
    fn an_older_version_goes_and_on_mysql_only_when_the_new_one_stands() {
        for backend in BACKENDS {
            let planned = make(backend, &parts(backend, "public"), &all_of(0, backend));
            let place = |words: &str| sql(&planned).iter().position(|sql| sql.starts_with(words)).unwrap();
            let (create, drop) = (place("CREATE TRIGGER"), place("DROP TRIGGER course_sharing_restore_v0"));
            assert_eq!(create < drop, backend == DbBackend::MySql, "{planned:?}");
        }
    }

    #[test]
    fn what_is_dropped_is_dropped_before_what_it_needs() {
        for backend in BACKENDS {
            let planned = drop_all(backend, &all_of(VERSION, backend));
            let sql = sql(&planned);
            let last_trigger = sql.iter().rposition(|sql| sql.starts_with("DROP TRIGGER")).unwrap();
            let other =
                sql.iter().position(|sql| sql.starts_with("DROP") && !sql.contains("TRIGGER")).unwrap();
            assert!(last_trigger < other, "{sql:?}");
        }
    }

    #[test]
    fn no_statement_names_another_column_of_the_lms_s() {
        for backend in BACKENDS {
            for part in parts(backend, "public") {
                for sql in part.make {
                    assert!(!sql.contains("language") && !sql.contains("eligible"), "{sql}");
                }
            }
        }
    }
}
