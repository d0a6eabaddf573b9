//! The restore trigger, which is made only where it is asked for. When the LMS inserts or saves a row of
//! `course_overviews_courseoverview`, it gives the row the link that the ledger has for it, in the LMS's own transaction; heal
//! does the same later. It never makes the LMS's statement fail. See `ops/reference/restore-trigger.md` for costs and limits.

mod parts;
mod standing;

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr};

pub use self::parts::VERSION;
pub use self::standing::{State, obstacle, state};

use self::parts::{Part, parts};
use self::standing::{Standing, schema_of_ledger, standing};
use crate::planned::{Planned, bounded};

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
    with_note(backend, "gets", statements)
}

fn drop_all(backend: DbBackend, standing: &[Standing]) -> Vec<Planned> {
    if standing.is_empty() {
        return Vec::new();
    }
    with_note(backend, "loses", standing.iter().map(|part| part.drop(backend)).collect())
}

fn with_note(backend: DbBackend, what: &str, statements: Vec<String>) -> Vec<Planned> {
    let about = format!("The LMS's table course_overviews_courseoverview {what} the restore trigger.");
    bounded(backend, vec![about], statements.into_iter().map(Planned::plain).collect())
}
