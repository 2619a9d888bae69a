//! Which crate may use which: the table of contents of the workspace, with wrong edges as errors.

use super::finding::Finding;
use super::lexer;
use super::tree::{File, numbered};
use crate::workspace::Package;

/// A crate, and the crates of this workspace that it may use.
struct Row {
    name: &'static str,
    uses: &'static [&'static str],
}

const TABLE: &[Row] = &[
    Row { name: "aura-core", uses: &[] },
    Row { name: "aura-graph", uses: &["aura-core"] },
    Row { name: "aura-store", uses: &["aura-core"] },
    Row { name: "aura-tools", uses: &["aura-core"] },
    Row { name: "aura-engine", uses: &["aura-core", "aura-graph"] },
    Row { name: "aura-testkit", uses: &["aura-core", "aura-graph", "aura-engine"] },
    Row {
        name: "aura",
        uses: &["aura-core", "aura-graph", "aura-store", "aura-tools", "aura-engine"],
    },
    Row {
        name: "aura-embed",
        uses: &["aura-core", "aura-graph", "aura-store", "aura-tools", "aura-engine"],
    },
    Row { name: "xtask", uses: &[] },
];

/// Only ever a dev-dependency: what tests are made with is no part of the product.
const FOR_TESTS: &str = "aura-testkit";

/// What else tests may use: the engine knows ports only, so its tests bring what fills them.
const TEST_TABLE: &[Row] = &[Row { name: "aura-engine", uses: &["aura-store", "aura-tools"] }];

pub(super) fn check(packages: &[Package], files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let manifest = manifest(package, files);
        if may_use(TABLE, &package.name).is_none() {
            let text = format!(
                "'{}' has no row in the crate table; give it one in xtask/src/tidy/edges.rs and ARCHITECTURE.md",
                package.name
            );
            findings.push(Finding::error(&manifest.path, 1, text));
            continue;
        }
        for dependency in &package.dependencies {
            let internal = packages.iter().any(|other| other.name == dependency.name);
            let dev = dependency.kind.as_deref() == Some("dev");
            if internal && !allowed(&package.name, &dependency.name, dev) {
                findings.push(wrong_edge(&manifest, package, &dependency.name, dev));
            }
        }
        findings.extend(used_outside_tests(package, packages, files));
    }
    findings
}

fn allowed(package: &str, used: &str, dev: bool) -> bool {
    let listed = |table| may_use(table, package).is_some_and(|names| names.contains(&used));
    if used == FOR_TESTS {
        return dev && package != FOR_TESTS;
    }
    listed(TABLE) || (dev && listed(TEST_TABLE))
}

fn may_use(table: &'static [Row], name: &str) -> Option<&'static [&'static str]> {
    table.iter().find(|row| row.name == name).map(|row| row.uses)
}

fn wrong_edge(manifest: &File, package: &Package, used: &str, dev: bool) -> Finding {
    let found = manifest.lines().find(|(_, line)| {
        line.trim_start().strip_prefix(used).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    });
    let line = found.map_or(1, |(number, _)| number);
    let text = if used == FOR_TESTS && !dev {
        format!("{FOR_TESTS} is for tests; move it to [dev-dependencies]")
    } else {
        let names = may_use(TABLE, &package.name).unwrap_or_default();
        let may = if names.is_empty() { "no crate of ours".to_owned() } else { names.join(", ") };
        format!(
            "{} must not use {used}, only {may}; move the code to where it belongs, \
             or propose a new edge with a record in docs/adr",
            package.name
        )
    };
    Finding::error(&manifest.path, line, text)
}

/// A dev-dependency of ours that is named outside a tests folder: linked there, it brings a second copy of the crate
/// under test, whose types are not the same.
fn used_outside_tests(package: &Package, packages: &[Package], files: &[File]) -> Vec<Finding> {
    let names: Vec<String> = package
        .dependencies
        .iter()
        .filter(|used| packages.iter().any(|other| other.name == used.name))
        .filter(|used| used.kind.as_deref() == Some("dev"))
        .filter(|used| {
            !package
                .dependencies
                .iter()
                .any(|other| other.name == used.name && other.kind.is_none())
        })
        .map(|used| used.name.replace('-', "_"))
        .collect();
    let src = format!("crates/{}/src/", package.name);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with(&src)) {
        if names.is_empty() {
            break;
        }
        for (number, line) in numbered(&file.split().code) {
            for name in names.iter().filter(|name| lexer::has_word(line, name)) {
                let text = format!("{name} is a dev-dependency; use it from the tests folder only");
                findings.push(Finding::error(&file.path, number, text));
            }
        }
    }
    findings
}

fn manifest(package: &Package, files: &[File]) -> File {
    let paths =
        [format!("crates/{}/Cargo.toml", package.name), format!("{}/Cargo.toml", package.name)];
    let found = files.iter().find(|file| paths.contains(&file.path));
    found.map_or_else(
        || File::new("Cargo.toml", ""),
        |file| File::new(file.path.clone(), file.text.clone()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, uses: &[(&str, Option<&str>)]) -> Package {
        let dependencies = uses
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
            })
            .collect();
        Package { name: name.to_owned(), dependencies }
    }

    fn workspace(mut with: Vec<Package>) -> Vec<Package> {
        for row in TABLE {
            if !with.iter().any(|package| package.name == row.name) {
                with.push(package(row.name, &[]));
            }
        }
        with
    }

    #[test]
    fn an_edge_outside_the_table_is_an_error_at_its_line() {
        let packages =
            workspace(vec![package("aura-graph", &[("aura-core", None), ("aura-store", None)])]);
        let text = "[dependencies]\naura-core.workspace = true\naura-store.workspace = true\n";
        let found = check(&packages, &[File::new("crates/aura-graph/Cargo.toml", text)]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("crates/aura-graph/Cargo.toml", 3));
        assert!(found[0].text.starts_with("aura-graph must not use aura-store, only aura-core;"));
    }

    #[test]
    fn the_testkit_is_a_dev_dependency_only() {
        let packages = workspace(vec![
            package("aura-store", &[("aura-testkit", None)]),
            package("aura-graph", &[("aura-testkit", Some("dev"))]),
        ]);
        let found = check(&packages, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("[dev-dependencies]"));
    }

    #[test]
    fn dev_dependencies_stay_in_the_tests_folder() {
        let packages = workspace(vec![package("aura-graph", &[("aura-testkit", Some("dev"))])]);
        let files = [
            File::new("crates/aura-graph/src/a.rs", "// aura_testkit\nuse aura_testkit::World;\n"),
            File::new("crates/aura-graph/tests/a.rs", "use aura_testkit::World;\n"),
        ];
        let found = check(&packages, &files);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("crates/aura-graph/src/a.rs", 2));
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        let found = check(&workspace(vec![package("aura-new", &[])]), &[]);
        assert!(found[0].text.starts_with("'aura-new' has no row"));
    }

    #[test]
    fn only_the_engine_may_test_with_the_adapters() {
        assert!(allowed("aura-engine", "aura-store", true));
        assert!(!allowed("aura-engine", "aura-store", false));
        assert!(!allowed("aura-graph", "aura-store", true));
    }
}
