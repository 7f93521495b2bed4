//! The modules of a crate, and which of them imports which.
//!
//! A path counts wherever it stands: in a `use`, or inline as `crate::a::B` or `super::a::b()`. A name that a module only
//! passes on (`pub use`) leads to the module that it comes from. Modules of tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{Token, closed, is, tokens_but_tests};

/// A path of modules, from the root of the crate, which is the empty one.
pub type ModulePath = Vec<String>;

/// A module that is a file.
#[derive(Debug, Default)]
pub struct Module {
    /// Its file.
    pub file: PathBuf,
    /// What it names in its crate.
    imports: Vec<Import>,
    /// The modules in it.
    children: BTreeSet<String>,
    /// The types that have an inherent or a trait's `impl` in it, with the line.
    pub impls: Vec<(String, usize)>,
}

#[derive(Debug)]
struct Import {
    path: ModulePath,
    line: usize,
    /// The name under which it is passed on.
    exported_as: Option<String>,
}

/// One module importing another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The module that imports.
    pub from: ModulePath,
    /// The module that is imported.
    pub to: ModulePath,
    /// Where, as `file:line`.
    pub place: String,
}

/// Modules of one folder that import each other in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    /// The folder, from the root of the crate.
    pub folder: String,
    /// Who imports whom, and where.
    pub imports: String,
}

/// All modules of a crate.
#[derive(Debug)]
pub struct Modules {
    modules: BTreeMap<ModulePath, Module>,
}

impl Modules {
    /// Reads the crate whose `lib.rs` lies in this folder.
    ///
    /// # Panics
    /// If a module's file is missing.
    pub fn read(folder: &Path) -> Modules {
        let mut found = Modules { modules: BTreeMap::new() };
        found.add(Vec::new(), folder.join("lib.rs"), folder.to_owned());
        found
    }

    /// The modules that the file of a crate's root declares, those of tests left out.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn top_level(file: &Path) -> Vec<String> {
        let source = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        declared(&tokens_but_tests(&source))
    }

    /// The modules by their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&ModulePath, &Module)> {
        self.modules.iter()
    }

    fn add(&mut self, path: ModulePath, file: PathBuf, folder: PathBuf) {
        let source = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let tokens = tokens_but_tests(&source);
        let mut module = Module { file, ..Module::default() };
        let declared = declared(&tokens);
        module.children = declared.iter().cloned().collect();
        module.scan(&path, &tokens);
        self.modules.insert(path.clone(), module);
        for name in declared {
            let alone = folder.join(format!("{name}.rs"));
            let file = if alone.is_file() { alone } else { folder.join(&name).join("mod.rs") };
            self.add([path.clone(), vec![name.clone()]].concat(), file, folder.join(name));
        }
    }

    /// Who imports whom. What a module passes on does not count as its own import.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (from, module) in &self.modules {
            for import in module.imports.iter().filter(|import| import.exported_as.is_none()) {
                let to = self.resolve(&import.path, 0);
                if to != *from {
                    let file = module.file.file_name().unwrap_or_default().to_string_lossy();
                    let folder = module.file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
                    edges.push(Edge { from: from.clone(), to, place: format!("{folder}/{file}:{}", import.line) });
                }
            }
        }
        edges
    }

    /// The module that a path leads to.
    fn resolve(&self, path: &[String], passed_on: usize) -> ModulePath {
        let is_module = |len: &usize| self.modules.contains_key(&path[..*len]);
        let len = (0..=path.len()).rev().find(is_module).expect("the root is a module");
        let module = &self.modules[&path[..len]];
        let name = path.get(len);
        let export = module.imports.iter().find(|import| import.exported_as.as_ref() == name && name.is_some());
        match export {
            Some(export) if passed_on < 8 => self.resolve(&[&export.path, &path[len + 1..]].concat(), passed_on + 1),
            _ => path[..len].to_vec(),
        }
    }

    /// The circles among the modules of each folder: in one of them, each imports another of them, at last the first. A
    /// folder within a folder is one module there.
    pub fn circles(&self) -> Vec<Circle> {
        let mut levels: BTreeMap<ModulePath, BTreeMap<(String, String), String>> = BTreeMap::new();
        for Edge { from, to, place } in self.edges() {
            let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            let name = |path: &ModulePath| path.get(common).map_or("mod", String::as_str).to_owned();
            let level = levels.entry(from[..common].to_vec()).or_default();
            level.entry((name(&from), name(&to))).or_insert(place);
        }
        let mut circles = Vec::new();
        for (folder, edges) in &levels {
            for circle in components(edges.keys()) {
                let inside = edges.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
                let shown: Vec<String> =
                    inside.map(|((from, to), place)| format!("{from} -> {to} ({place})")).collect();
                circles.push(Circle { folder: folder.join("/"), imports: shown.join(", ") });
            }
        }
        circles
    }
}

/// Sets of more than one name in which everyone reaches everyone.
fn components<'a>(edges: impl Iterator<Item = &'a (String, String)>) -> Vec<BTreeSet<String>> {
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges {
        reached.entry(from).or_default().insert(to);
    }
    loop {
        let before: usize = reached.values().map(BTreeSet::len).sum();
        for from in reached.keys().copied().collect::<Vec<_>>() {
            let further: Vec<&str> =
                reached[from].iter().filter_map(|to| reached.get(to)).flatten().copied().collect();
            reached.entry(from).or_default().extend(further);
        }
        if reached.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (name, to) in reached.iter().filter(|(name, to)| to.contains(*name)) {
        if found.iter().all(|circle| !circle.contains(*name)) {
            let both = to.iter().filter(|other| reached.get(*other).is_some_and(|back| back.contains(name)));
            found.push(both.map(|other| (*other).to_owned()).collect());
        }
    }
    found
}

/// The modules that a file declares and that are files of their own.
fn declared(tokens: &[Token<'_>]) -> Vec<String> {
    let windows = tokens.windows(3);
    let declared = windows.filter(|window| window[0].text == "mod" && window[1].is_word() && window[2].text == ";");
    declared.map(|window| window[1].text.to_owned()).collect()
}

impl Module {
    fn scan(&mut self, path: &ModulePath, tokens: &[Token<'_>]) {
        // Modules within the file, each with the place where it ends: `super` in them means this one.
        let mut inner: Vec<(String, usize)> = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            inner.retain(|(_, end)| at < *end);
            let here: ModulePath = path.iter().cloned().chain(inner.iter().map(|(name, _)| name.clone())).collect();
            let rest = &tokens[at..];
            let token = rest[0];
            let is_behind_path = at > 0 && [":", "."].contains(&tokens[at - 1].text);
            match token.text {
                "mod" if rest.len() > 2 && rest[2].text == "{" => {
                    inner.push((rest[1].text.to_owned(), closed(tokens, at + 2)));
                    at += 3;
                }
                // Not the `use<..>` of a type, which says what it captures.
                "use" if !is(&rest[1..], &["<"]) => {
                    let len = rest.iter().position(|token| token.text == ";").unwrap_or(rest.len());
                    let is_public = at > 0 && is_visibility(&tokens[..at]);
                    for (leaf, alias) in leaves(&rest[1..len]) {
                        let alias = alias.or_else(|| leaf.last().cloned()).filter(|_| is_public);
                        if let Some(leaf) = self.absolute(&here, &leaf) {
                            self.imports.push(Import { path: leaf, line: token.line, exported_as: alias });
                        }
                    }
                    at += len;
                }
                "impl" => {
                    if let Some(name) = implemented(&rest[1..]) {
                        self.impls.push((name, token.line));
                    }
                    at += 1;
                }
                _ if token.is_word() && !is_behind_path && is(&rest[1..], &[":", ":"]) => {
                    let (segments, len) = inline(rest);
                    if let Some(segments) = self.absolute(&here, &segments) {
                        self.imports.push(Import { path: segments, line: token.line, exported_as: None });
                    }
                    at += len;
                }
                _ => at += 1,
            }
        }
    }

    /// A path from the root of the crate; `None` if it leads out of it.
    fn absolute(&self, here: &ModulePath, path: &[String]) -> Option<ModulePath> {
        let mut base = here.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (base, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            name if self.children.contains(name) => {}
            _ => return None,
        }
        base.extend(rest.iter().filter(|name| *name != "self" && *name != "*").cloned());
        Some(base)
    }
}

/// Whether tokens end with `pub` or `pub(…)`.
fn is_visibility(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [.., last] if last.text == "pub" => true,
        [.., visibility, open, _, close] => (visibility.text, open.text, close.text) == ("pub", "(", ")"),
        _ => false,
    }
}

/// A path as it stands within an expression, and how many tokens it has.
fn inline(tokens: &[Token<'_>]) -> (Vec<String>, usize) {
    let (mut segments, mut at) = (vec![tokens[0].text.to_owned()], 1);
    while is(&tokens[at..], &[":", ":"]) && tokens.get(at + 2).is_some_and(Token::is_word) {
        segments.push(tokens[at + 2].text.to_owned());
        at += 3;
    }
    (segments, at)
}

/// The paths of a `use`, each with its alias.
fn leaves(tokens: &[Token<'_>]) -> Vec<(Vec<String>, Option<String>)> {
    let (mut found, mut prefix, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        match tokens[at].text {
            ":" => at += 1,
            "{" => {
                let end = closed(tokens, at);
                for part in split(&tokens[at + 1..end - 1]) {
                    for (leaf, alias) in leaves(part) {
                        found.push(([prefix.clone(), leaf].concat(), alias));
                    }
                }
                return found;
            }
            "as" => return vec![(prefix, Some(tokens[at + 1].text.to_owned()))],
            text => {
                prefix.push(text.to_owned());
                at += 1;
            }
        }
    }
    if !prefix.is_empty() {
        found.push((prefix, None));
    }
    found
}

/// What stands between the commas that are in no inner bracket.
fn split<'a, 'b>(tokens: &'b [Token<'a>]) -> Vec<&'b [Token<'a>]> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < tokens.len() {
        match tokens[at].text {
            "{" => at = closed(tokens, at),
            "," => {
                parts.push(&tokens[begin..at]);
                at += 1;
                begin = at;
            }
            _ => at += 1,
        }
    }
    parts.push(&tokens[begin..]);
    parts
}

/// The type of an `impl`, whose keyword stands before these tokens.
fn implemented(tokens: &[Token<'_>]) -> Option<String> {
    let head = tokens.split(|token| token.text == "{").next()?;
    let head = head.split(|token| token.text == "where").next()?;
    let behind_for = head.iter().rposition(|token| token.text == "for").map_or(0, |at| at + 1);
    let (mut depth, mut name) = (0_i32, None);
    for (at, token) in head.iter().enumerate().skip(behind_for) {
        match token.text {
            "<" => depth += 1,
            // The arrow of a function's type closes nothing.
            ">" if at == 0 || head[at - 1].text != "-" => depth -= 1,
            _ if depth == 0 && token.is_word() => name = Some(token.text.to_owned()),
            _ => {}
        }
    }
    name
}
