//! What MySQL and MariaDB print for SHOW GRANTS, read into rights. Pure: lines in, rights out.
//!
//! A line is `GRANT right [(column, …)], … ON [kind] what TO whom …`, or the REVOKE by which MySQL takes one database
//! out of a right on all. Lines without ON name a role; what it may do stands in lines of its own.

use super::{Held, On};

/// The rights in these lines, as they are for the database `schema`.
pub(super) fn read<'a>(lines: impl IntoIterator<Item = &'a str>, schema: &str) -> Vec<Held> {
    let lines: Vec<Line> = lines.into_iter().filter_map(|line| parse(&lex(line))).collect();
    let (revoked, granted): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| line.revoked);
    let taken_back = |right: &str| {
        let here = revoked.iter().filter(|line| matches!(&line.on, Target::Schema(name) if name == schema));
        here.flat_map(|line| &line.rights).any(|(revoked, _)| revoked == right)
    };
    let mut held = Vec::new();
    for line in granted {
        let on = line.on.seen_from(schema);
        for (right, columns) in line.rights {
            let on = match &on {
                On::Everything(words) if line.on == Target::Server && taken_back(&right) => {
                    On::Elsewhere(words.clone())
                }
                on => on.clone(),
            };
            // It is how the two say "none", of a user who may but log in.
            if right != "USAGE" {
                held.push(Held { right, on, columns });
            }
        }
    }
    held
}

struct Line {
    revoked: bool,
    rights: Vec<(String, Vec<String>)>,
    on: Target,
}

#[derive(PartialEq, Eq)]
enum Target {
    Server,
    /// A pattern: `%`, `_`, and `\` before either.
    Schema(String),
    Table(String, String),
    /// A routine, a proxied user.
    Other(String),
}

impl Target {
    fn seen_from(&self, schema: &str) -> On {
        match self {
            Self::Server => On::Everything("*.*".to_owned()),
            Self::Schema(pattern) if like(pattern, schema) => On::Everything(format!("{pattern}.*")),
            Self::Schema(pattern) => On::Elsewhere(format!("{pattern}.*")),
            Self::Table(of, table) if of == schema => On::Table(table.clone()),
            Self::Table(of, table) => On::Elsewhere(format!("{of}.{table}")),
            Self::Other(words) => On::Elsewhere(words.clone()),
        }
    }
}

/// Whether a database's name fits the pattern in a right on a database.
fn like(pattern: &str, name: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    match pattern_chars.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = pattern_chars.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| like(rest, &name[at..]))
        }
        Some(c) => {
            let (any, wanted) = match c {
                '\\' => (false, pattern_chars.next().unwrap_or('\\')),
                c => (c == '_', c),
            };
            let mut name_chars = name.chars();
            name_chars.next().is_some_and(|found| any || found == wanted)
                && like(pattern_chars.as_str(), name_chars.as_str())
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// What stood in quotes.
    Name(String),
    Mark(char),
}

fn lex(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' | '"' | '\'' => {
                let mut name = String::new();
                while let Some(inner) = chars.next() {
                    if inner != c {
                        name.push(inner);
                    } else if chars.next_if_eq(&c).is_some() {
                        name.push(c); // doubled, it stands for itself
                    } else {
                        break;
                    }
                }
                tokens.push(Token::Name(name));
            }
            '(' | ')' | ',' | '.' | '*' | '@' => tokens.push(Token::Mark(c)),
            c if c.is_whitespace() => {}
            c => {
                let mut word = String::from(c);
                while let Some(more) = chars.next_if(|c| !c.is_whitespace() && !"`\"'(),.*@".contains(*c)) {
                    word.push(more);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}

fn parse(tokens: &[Token]) -> Option<Line> {
    let word = |token: &Token, wanted: &str| matches!(token, Token::Word(word) if word == wanted);
    let (first, rest) = tokens.split_first()?;
    let revoked = word(first, "REVOKE");
    if !revoked && !word(first, "GRANT") {
        return None;
    }
    let on = rest.iter().position(|token| word(token, "ON"))?;
    let (rights, rest) = (&rest[..on], &rest[on + 1..]);
    let to = rest.iter().position(|token| word(token, if revoked { "FROM" } else { "TO" }))?;
    let (target, tail) = (&rest[..to], &rest[to..]);
    let mut rights = parse_rights(rights);
    if tail.windows(3).any(|t| word(&t[0], "WITH") && word(&t[1], "GRANT") && word(&t[2], "OPTION")) {
        rights.push(("GRANT OPTION".to_owned(), Vec::new()));
    }
    Some(Line { revoked, rights, on: parse_target(target) })
}

/// `SELECT (`a`, `b`), CREATE VIEW` as rights, each with its columns.
fn parse_rights(tokens: &[Token]) -> Vec<(String, Vec<String>)> {
    let mut rights: Vec<(String, Vec<String>)> = vec![Default::default()];
    let mut in_columns = false;
    for token in tokens {
        let Some((right, columns)) = rights.last_mut() else { break };
        match token {
            Token::Mark('(') => in_columns = true,
            Token::Mark(')') => in_columns = false,
            Token::Mark(',') if !in_columns => rights.push(Default::default()),
            // Columns are compared without case there.
            Token::Word(text) | Token::Name(text) if in_columns => columns.push(text.to_lowercase()),
            Token::Word(text) => {
                let blank = if right.is_empty() { "" } else { " " };
                right.push_str(&format!("{blank}{}", text.to_uppercase()));
            }
            _ => {}
        }
    }
    rights
}

fn parse_target(tokens: &[Token]) -> Target {
    use Token::{Mark, Name, Word};
    match tokens {
        [Word(kind), rest @ ..] if kind == "TABLE" => parse_target(rest),
        [Mark('*'), Mark('.'), Mark('*')] => Target::Server,
        [Name(schema) | Word(schema), Mark('.'), Mark('*')] => Target::Schema(schema.clone()),
        [Name(schema) | Word(schema), Mark('.'), Name(table) | Word(table)] => {
            Target::Table(schema.clone(), table.clone())
        }
        other => Target::Other(words(other)),
    }
}

fn words(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Word(word) => text.push_str(&format!("{word} ")),
            Token::Name(name) => text.push_str(name),
            Token::Mark(mark) => text.push(*mark),
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(lines: &[&str]) -> Vec<String> {
        let told = |held: Held| {
            let on = match held.on {
                On::Everything(on) => format!("all of {on}"),
                On::Table(on) => on,
                On::Elsewhere(on) => format!("elsewhere {on}"),
            };
            format!("{}({}) {on}", held.right, held.columns.join(" "))
        };
        read(lines.iter().copied(), "edxapp").into_iter().map(told).collect()
    }

    #[test]
    fn mariadb_s_lines() {
        let lines = [
            "GRANT `zzr` TO `u`@`%`",
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*7B9EBEED26AA52ED10C0F549FA863F13C39E0209'",
            "GRANT SELECT (`id`, `marketing_url`), UPDATE (`marketing_url`) ON `edxapp`.`overview` TO `u`@`%`",
            "GRANT SELECT, INSERT, CREATE VIEW ON `edxapp`.`ledger` TO `u`@`%`",
            "GRANT INSERT ON `edx\\_app`.* TO `zzr`",
            "GRANT DELETE ON `edx%`.* TO `zzr`",
            "GRANT EXECUTE ON PROCEDURE `edxapp`.`p` TO `u`@`%`",
            "GRANT PROXY ON ``@`%` TO `u`@`%` WITH GRANT OPTION",
            "SET DEFAULT ROLE `zzr` FOR `u`@`%`",
        ];
        let expected = [
            "SELECT(id marketing_url) overview",
            "UPDATE(marketing_url) overview",
            "SELECT() ledger",
            "INSERT() ledger",
            "CREATE VIEW() ledger",
            "INSERT() elsewhere edx\\_app.*",
            "DELETE() all of edx%.*",
            "EXECUTE() elsewhere PROCEDURE edxapp.p",
            "PROXY() elsewhere @%",
            "GRANT OPTION() elsewhere @%",
        ];
        assert_eq!(found(&lines), expected);
        let root =
            "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` IDENTIFIED VIA unix_socket WITH GRANT OPTION";
        assert_eq!(found(&[root]), ["ALL PRIVILEGES() all of *.*", "GRANT OPTION() all of *.*"]);
    }

    #[test]
    fn mysql_s_lines() {
        let lines = [
            "GRANT SELECT, UPDATE ON *.* TO `u`@`10.0.0.%`",
            "GRANT BACKUP_ADMIN,ROLE_ADMIN ON *.* TO `u`@`10.0.0.%`",
            "GRANT SELECT (ID) ON edxapp.overview TO 'u'@'10.0.0.%'",
            "GRANT `r1`@`%`,`r2`@`%` TO `u`@`10.0.0.%`",
            "REVOKE UPDATE ON `edxapp`.* FROM `u`@`10.0.0.%`",
            "REVOKE SELECT ON `other`.* FROM `u`@`10.0.0.%`",
        ];
        let expected = [
            "SELECT() all of *.*",
            "UPDATE() elsewhere *.*",
            "BACKUP_ADMIN() all of *.*",
            "ROLE_ADMIN() all of *.*",
            "SELECT(id) overview",
        ];
        assert_eq!(found(&lines), expected);
    }

    #[test]
    fn names_may_hold_what_the_grammar_uses() {
        let line = "GRANT SELECT ON `edxapp`.`a``b TO (c), ON` TO `o'neill`@`%`";
        assert_eq!(found(&[line]), ["SELECT() a`b TO (c), ON"]);
        let ansi = r#"GRANT SELECT ("id") ON "edxapp"."t" TO "u"@"%""#;
        assert_eq!(found(&[ansi]), ["SELECT(id) t"]);
    }

    #[test]
    fn a_pattern_of_a_database_is_one() {
        for (pattern, name, fits) in [
            ("edxapp", "edxapp", true),
            ("edxapp", "edxapp2", false),
            ("edx\\_app", "edx_app", true),
            ("edx\\_app", "edxXapp", false),
            ("edx_app", "edxXapp", true),
            ("%", "édx", true),
            ("e%p", "edxapp", true),
            ("e%q", "edxapp", false),
        ] {
            assert_eq!(like(pattern, name), fits, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in "(GRANT|REVOKE) [ -~é`'\"\\\\%]{0,60}( ON [ -~`.*]{0,20})?( TO .{0,10})?") {
            let _ = read([line.as_str()], "edxapp");
        }
    }
}
