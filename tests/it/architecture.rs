//! The shape of the sources: which module may import which, how short a file may be, and which words they avoid.

mod circles;

use std::path::{Path, PathBuf};

use crate::support::project::{files, read, root};

/// The modules of `src`, from the ground up. A module imports from floors below its own alone.
const FLOORS: [&[&str]; 10] = [
    &["clock", "model"],
    &["config"],
    &["telemetry"],
    &["jobs"],
    &["broker", "catalog", "event", "store"],
    &["engine", "share_link"],
    &["pass"],
    &["status"],
    &["http", "worker"],
    &["cli"],
];

/// A shorter file is not worth opening. The root of a module may be short.
const MIN_LINES: usize = 15;

/// Words over which a reader stumbles, and how many of them there are in `src`. Where some go, lower the number.
const DIALECT: [(&str, usize); 8] = [
    ("told", 15),
    ("tell", 4),
    ("none:", 15),
    ("vouch", 0),
    ("whoever", 0),
    ("anew", 0),
    ("in hand", 4),
    ("crowd", 0),
];

/// Every source file: its path below `src`, and its text.
fn sources() -> Vec<(PathBuf, String)> {
    let below = |path: &Path| path.strip_prefix(root().join("src")).unwrap().to_owned();
    files("src", &["rs"]).iter().map(|path| (below(path), read(path))).collect()
}

/// The module at the top: `store` for `store/ledger.rs`.
fn module(path: &Path) -> String {
    path.with_extension("").iter().next().unwrap().to_str().unwrap().to_owned()
}

fn is_root(path: &Path) -> bool {
    path.ends_with("mod.rs") || path.components().count() == 1
}

/// A text less its comments and its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The modules that `code` names as `crate::…`.
fn imports(code: &str) -> Vec<&str> {
    let names = code.lines().flat_map(|line| line.split("crate::").skip(1));
    names.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()).collect()
}

/// The floor of a module.
fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let ours = module(&path);
        if ["lib", "main"].contains(&ours.as_str()) || path.ends_with("tests.rs") {
            continue;
        }
        let floor_of_ours = floor(&ours).unwrap_or_else(|| panic!("give {ours} a floor in FLOORS"));
        for import in imports(&code(&text)).into_iter().filter(|import| *import != ours) {
            // Not a module: a macro or a constant of the root, which must not be.
            let theirs = floor(import).unwrap_or_else(|| panic!("{}: crate::{import}?", path.display()));
            if theirs >= floor_of_ours {
                wrong.push(format!("{} imports crate::{import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_floor_has_its_modules() {
    let there: Vec<String> = sources().iter().map(|(path, _)| module(path)).collect();
    for name in FLOORS.concat() {
        assert!(there.iter().any(|module| module == name), "no module {name}: strike it from FLOORS");
    }
}

#[test]
fn a_file_says_why_it_exists_and_is_worth_opening() {
    for (path, text) in sources() {
        assert!(text.starts_with("//!") || path.ends_with("main.rs"), "{} has no //!", path.display());
        let lines = text.lines().count();
        assert!(lines >= MIN_LINES || is_root(&path), "{} has {lines} lines", path.display());
    }
}

#[test]
fn words_of_the_dialect_do_not_come_back() {
    let all: String = sources().into_iter().map(|(_, text)| text.to_lowercase()).collect();
    // Whole words, but for stems such as `vouch` and `crowd`.
    let is_word = |at: usize, word: &str| {
        let (before, after) = (&all[..at], &all[at + word.len()..]);
        !before.ends_with(char::is_alphanumeric)
            && (["vouch", "crowd"].contains(&word) || !after.starts_with(char::is_alphanumeric))
    };
    for (word, most) in DIALECT {
        let found = all.match_indices(word).filter(|(at, _)| is_word(*at, word)).count();
        assert!(found <= most, "{word:?} stands {found} times in src, and stood {most} times");
    }
}
