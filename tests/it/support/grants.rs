//! The least rights as ops/ROLLOUT.md says them, so that every test runs under what operators are told to grant.

use super::databases::Kind;

const ROLLOUT: &str = include_str!("../../../ops/ROLLOUT.md");

/// One statement of the document, for a user and a database of a test's.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// The comment before it, if it says that it is not for everybody.
    pub(crate) only_with: Option<String>,
}

/// The password of every such user.
pub(crate) const PASSWORD: &str = "of-the-least-rights";

/// Every statement of the document for this kind of server, with other names.
pub(crate) fn statements(kind: Kind, user: &str, database: &str) -> Vec<Statement> {
    let heading = if kind == Kind::Mysql { "\nMySQL and MariaDB" } else { "\nPostgreSQL:" };
    let (_, after) = ROLLOUT.split_once(heading).expect("the heading");
    let (_, block) = after.split_once("```sql\n").expect("a block of SQL");
    let (block, _) = block.split_once("```").expect("its end");
    let statements = block.split_inclusive(";\n").map(str::trim).filter(|text| !text.is_empty());
    statements.map(|text| statement(kind, text, user, database)).collect()
}

fn statement(kind: Kind, text: &str, user: &str, database: &str) -> Statement {
    let (comments, sql): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("--"));
    let sql: Vec<&str> = sql.into_iter().map(str::trim).collect();
    let mut sql = sql.join(" ").replace("'…'", &format!("'{PASSWORD}'"));
    if kind == Kind::Mysql {
        sql = sql.replace("'course_sharing'@'10.0.0.%'", &format!("'{user}'@'%'"));
        sql = sql.replace("ON edxapp.", &format!("ON {database}."));
    } else {
        sql = sql.replace("ROLE course_sharing ", &format!("ROLE {user} "));
        sql = sql.replace("TO course_sharing;", &format!("TO {user};"));
        sql = sql.replace("DATABASE edxapp ", &format!("DATABASE {database} "));
    }
    let only_with =
        comments.iter().find(|comment| comment.starts_with("-- With ")).map(|&text| text.to_owned());
    Statement { sql, only_with }
}
