//! Circles between files: a file that imports another one that, over any number of files, imports the first.
//!
//! What a `mod.rs` passes on with `pub use` is no import of its own, and counts as the file in which the item is.

use std::collections::{BTreeMap, BTreeSet};

use super::{code, sources};

/// A module, as in `store/write`, with the modules that it uses.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// The source of each module, without comments and tests.
struct Modules(BTreeMap<String, String>);

impl Modules {
    fn read() -> Self {
        let is_code = |path: &str| !path.ends_with("tests") && !path.contains("tests/");
        let module = |path: String| path.trim_end_matches("/mod").to_owned();
        let all = sources().into_iter().map(|(path, text)| {
            let path = path.with_extension("").to_str().unwrap().to_owned();
            (path, code(&text))
        });
        Self(all.filter(|(path, _)| is_code(path)).map(|(path, text)| (module(path), text)).collect())
    }

    /// The file of the item that `path` names in `module`.
    fn file(&self, module: &str, path: &str, depth: usize) -> String {
        let mut words: Vec<&str> =
            path.split("::").map(|word| word.split(" as ").next().unwrap().trim()).collect();
        let mut at = match words[0] {
            "crate" => String::new(),
            _ => module.to_owned(),
        };
        while ["crate", "self", "super"].contains(words.first().unwrap_or(&"")) {
            if words.remove(0) == "super" {
                at = at.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
            }
        }
        while let Some(word) = words.first() {
            let below = if at.is_empty() { (*word).to_owned() } else { format!("{at}/{word}") };
            if !self.0.contains_key(&below) {
                break;
            }
            at = below;
            words.remove(0);
        }
        let passed_on = |item: &&str| {
            let uses = uses(self.0.get(&at)?).into_iter().flat_map(|(_, tree)| leaves(&tree));
            uses.into_iter()
                .find(|leaf| leaf.rsplit("::").next().unwrap().split(" as ").last() == Some(*item))
        };
        match words.first().and_then(passed_on) {
            Some(other) if depth < 5 && is_ours(&other) => self.file(&at, &other, depth + 1),
            _ => at,
        }
    }

    /// All that a module uses: what it imports, and the paths in its code.
    fn used(&self, module: &str) -> BTreeSet<String> {
        // `pub(in …)` names a module without using it.
        let text = without_passed_on(&self.0[module]).replace("pub(in crate::", "pub(in ");
        let mut paths: Vec<String> = uses(&text).into_iter().flat_map(|(_, tree)| leaves(&tree)).collect();
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        for word in words.map(|word| word.trim_matches(':')).filter(|word| word.contains("::")) {
            let first = word.split("::").next().unwrap();
            let is_below = self.0.contains_key(&format!("{module}/{first}"));
            paths.push(if is_below { format!("self::{word}") } else { word.to_owned() });
        }
        let files = paths.iter().filter(|path| is_ours(path)).map(|path| self.file(module, path, 0));
        files.filter(|file| file != module && !file.is_empty()).collect()
    }
}

fn is_ours(path: &str) -> bool {
    ["crate::", "self::", "super::"].iter().any(|root| path.starts_with(root))
}

/// The text less every `pub use` of it.
fn without_passed_on(text: &str) -> String {
    let mut kept = text.to_owned();
    for (is_passed_on, tree) in uses(text) {
        if is_passed_on {
            kept = kept.replace(&format!("use {tree};"), "");
        }
    }
    kept
}

/// The `use` statements of a file: whether each passes on what it names, and its tree.
fn uses(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let before = text[..at].rsplit('\n').next().unwrap();
        if !["", "pub ", "pub(crate) ", "pub(super) "].contains(&before.trim_start()) {
            continue;
        }
        let tree = text[at + 4..].split(';').next().unwrap();
        found.push((before.contains("pub"), tree.to_owned()));
    }
    found
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((before, inner)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 { parts.push(String::new()) } else { parts.last_mut().unwrap().push(c) }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| leaves(&format!("{}{}", before.trim(), part.trim()))).collect()
}

/// All modules that can be reached from this one.
fn reached<'e>(edges: &'e Edges, from: &str) -> BTreeSet<&'e str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = edges[from].iter().map(String::as_str).collect();
    while let Some(module) = next.pop() {
        if let Some((module, used)) = edges.get_key_value(module)
            && reached.insert(module.as_str())
        {
            next.extend(used.iter().map(String::as_str));
        }
    }
    reached
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = Modules::read();
    let edges: Edges = modules.0.keys().map(|module| (module.clone(), modules.used(module))).collect();
    assert!(
        edges["cli/sync"].contains("engine"),
        "this test does not see imports any more: {:?}",
        edges["cli/sync"]
    );
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|module| (module.as_str(), reached(&edges, module))).collect();
    let circles: BTreeSet<Vec<&str>> = reached
        .iter()
        .filter(|(module, all)| all.contains(*module))
        .map(|(module, all)| all.iter().copied().filter(|other| reached[other].contains(module)).collect())
        .collect();
    assert!(circles.is_empty(), "these files import each other in a circle: {circles:#?}");
}

#[test]
fn imports_are_read_whatever_their_form() {
    assert_eq!(
        leaves("super::a::{self, b::{C, d}, e as f}"),
        ["super::a::self", "super::a::b::C", "super::a::b::d", "super::a::e as f"]
    );
    let text = "pub use self::a::B;\nuse crate::{\n    c::D,\n    e,\n};\nlet because = 1;\n";
    assert_eq!(
        uses(text),
        [(true, "self::a::B".to_owned()), (false, "crate::{\n    c::D,\n    e,\n}".to_owned())]
    );
    assert_eq!(leaves(&uses(text)[1].1), ["crate::c::D", "crate::e"]);
    assert!(!without_passed_on(text).contains("self::a"));
}
