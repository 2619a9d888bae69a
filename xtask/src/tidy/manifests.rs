//! What every member's manifest has in common: lints and versions come from the root, and there are no features.

use super::finding::Finding;
use super::tree::File;

/// An assignment in a manifest.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    line: usize,
    section: String,
    key: String,
    value: String,
}

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    files.iter().filter(|file| is_member(&file.path)).flat_map(manifest).collect()
}

fn is_member(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    matches!(parts[..], ["crates", _, "Cargo.toml"] | ["xtask", "Cargo.toml"])
}

fn manifest(file: &File) -> Vec<Finding> {
    let entries = entries(&file.text);
    let mut findings = Vec::new();
    let lints = entries
        .iter()
        .any(|entry| entry.section == "lints" && entry.key == "workspace" && entry.value == "true");
    if !lints {
        let text = "the lints of the workspace are not on; add `[lints]` with `workspace = true`";
        findings.push(Finding::error(&file.path, 1, text));
    }
    for (number, line) in file.lines() {
        if line.trim().starts_with("[features]") {
            let text = "features make builds that nobody tests; remove them and decide at run time";
            findings.push(Finding::error(&file.path, number, text));
        }
    }
    for entry in &entries {
        if let Some(name) = own_version(entry, &entries) {
            let text = format!(
                "'{name}' has its own version; put it in [workspace.dependencies] of the root \
                 and write `{name}.workspace = true`"
            );
            findings.push(Finding::error(&file.path, entry.line, text));
        }
    }
    findings
}

/// The dependency that this entry declares without taking it from the root.
fn own_version<'a>(entry: &'a Entry, all: &[Entry]) -> Option<&'a str> {
    let (_, table) = entry.section.rsplit_once("dependencies")?;
    // `[dependencies.name]`: one entry stands for its whole table, and any line of it may be the right one.
    if let Some(name) = table.strip_prefix('.') {
        let same = |other: &&Entry| other.section == entry.section;
        let first = all.iter().find(same).is_some_and(|first| first == entry);
        let taken =
            all.iter().filter(same).any(|other| other.key == "workspace" && other.value == "true");
        return (first && !taken).then_some(name);
    }
    let (name, rest) = entry.key.split_once('.').unwrap_or((&entry.key, ""));
    let short = rest == "workspace" && entry.value == "true";
    let value: String = entry.value.split_whitespace().collect();
    let long = value.starts_with('{')
        && value.trim_matches(['{', '}']).split(',').any(|part| part == "workspace=true");
    (!short && !long).then_some(name)
}

/// The assignments of a manifest; as much TOML as manifests need.
fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section = String::new();
    let mut open = 0_isize;
    for (index, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let depth = depth(line);
        if open > 0 {
            if let Some(entry) = entries.last_mut() {
                entry.value.push(' ');
                entry.value.push_str(line);
            }
            open += depth;
        } else if line.starts_with('[') {
            line.trim_matches(['[', ']']).trim().clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(Entry {
                line: index + 1,
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
            open = depth;
        }
    }
    entries
}

/// Brackets opened, less those closed.
fn depth(line: &str) -> isize {
    line.chars()
        .map(|c| match c {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn found(text: &str) -> Vec<(usize, String)> {
        let files = [File::new("crates/a/Cargo.toml", format!("{LINTS}{text}"))];
        check(&files).into_iter().map(|finding| (finding.line, finding.text)).collect()
    }

    #[test]
    fn versions_come_from_the_root() {
        assert_eq!(
            found(
                "[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"x\"] }\n"
            ),
            []
        );
        let bad = found("[dependencies]\na = \"1\"\n[dev-dependencies]\nb = { version = \"1\" }\n");
        assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 6]);
        assert!(bad[0].1.contains("`a.workspace = true`"));
    }

    #[test]
    fn tables_and_targets_count_too() {
        assert_eq!(found("[dependencies.a]\nfeatures = []\nworkspace = true\n"), []);
        assert_eq!(found("[dependencies.a]\nversion = \"1\"\nfeatures = []\n").len(), 1);
        assert_eq!(found("[target.'cfg(unix)'.dependencies]\na = \"1\"\n").len(), 1);
        assert_eq!(
            found("[dependencies]\na = { workspace = true, features = [\n  \"x=y\",\n] }\n"),
            []
        );
    }

    #[test]
    fn lints_are_on_and_features_are_not_there() {
        let files =
            [File::new("xtask/Cargo.toml", "[package]\nname = \"x\"\n[features]\nx = []\n")];
        let found: Vec<_> = check(&files).into_iter().map(|finding| finding.line).collect();
        assert_eq!(found, [1, 3]);
        assert_eq!(check(&[File::new("fuzz/Cargo.toml", "")]), []);
    }
}
