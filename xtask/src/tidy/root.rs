//! The root stays clean: what may lie there is a list.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::tree::File;

const ALLOWED: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "GLOSSARY.md",
    "LICENSE",
    "README.md",
    "bench",
    "changelog.d",
    "clippy.toml",
    "connectors",
    "console",
    "crates",
    "deny.toml",
    "deploy",
    "docs",
    "examples",
    "fixtures",
    "fuzz",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "schemas",
    "sdks",
    "xtask",
];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut strangers = BTreeMap::new();
    for file in files {
        let top = file.path.split('/').next().unwrap_or(&file.path);
        if !ALLOWED.contains(&top) {
            strangers.entry(top).or_insert(&file.path);
        }
    }
    let text = |top| {
        format!(
            "'{top}' is not on the list of what may lie at the root; move it into a folder, \
             or add it to xtask/src/tidy/root.rs"
        )
    };
    strangers.into_iter().map(|(top, path)| Finding::error(path, 1, text(top))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_named_once() {
        let files = ["Cargo.toml", "crates/a/src/lib.rs", "notes/1.md", "notes/2.md", "plan.md"]
            .map(|path| File::new(path, ""));
        let found = check(&files);
        let paths: Vec<_> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["notes/1.md", "plan.md"]);
        assert!(found[0].text.contains("'notes'"));
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(ALLOWED.is_sorted());
    }
}
