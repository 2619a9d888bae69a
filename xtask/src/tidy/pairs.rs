//! Things that come in pairs or rows: error codes and their pages, migrations and their numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::tree::File;

const CODES: &str = "crates/aura-core/src/error.rs";
const PAGES: &str = "docs/errors/";
const MIGRATIONS: &str = "crates/aura-store/migrations/";

/// Every error code has a page, and every page a code.
pub(super) fn error_pages(files: &[File]) -> Vec<Finding> {
    let Some(source) = files.iter().find(|file| file.path == CODES) else {
        return vec![Finding::error(
            CODES,
            1,
            "the error codes are not here any more; tell xtask/src/tidy/pairs.rs",
        )];
    };
    let codes: BTreeMap<&str, usize> =
        source.lines().filter_map(|(number, line)| Some((code(line)?, number))).collect();
    let pages: BTreeMap<&str, &File> =
        files.iter().filter_map(|file| Some((page(&file.path)?, file))).collect();
    let mut findings = Vec::new();
    for (code, line) in codes.iter().filter(|(code, _)| !pages.contains_key(*code)) {
        let text = format!(
            "{code} has no page; write {PAGES}{code}.md: what happened, what was kept, what to do"
        );
        findings.push(Finding::error(CODES, *line, text));
    }
    for (code, file) in pages.iter().filter(|(code, _)| !codes.contains_key(*code)) {
        let text = format!("no error has the code {code}; remove the page, or correct its name");
        findings.push(Finding::error(&file.path, 1, text));
    }
    findings
}

/// The code of a line like `NotFound = "NOT_FOUND";`.
fn code(line: &str) -> Option<&str> {
    let (variant, rest) = line.trim().split_once(" = \"")?;
    let name = rest.strip_suffix("\";")?;
    let plain = variant.chars().all(char::is_alphanumeric);
    let loud = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    (plain && loud).then_some(name)
}

/// The code that a page is for; the folder's own page is for none.
fn page(path: &str) -> Option<&str> {
    let name = path.strip_prefix(PAGES)?.strip_suffix(".md")?;
    (name != "README" && !name.contains('/')).then_some(name)
}

/// Every folder of migrations is numbered from 0001 without a gap.
pub(super) fn migrations(files: &[File]) -> Vec<Finding> {
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.starts_with(MIGRATIONS)) {
        let folder = file.path.strip_suffix(file.name()).unwrap_or(&file.path);
        folders.entry(folder).or_default().insert(file.name());
    }
    let mut findings = Vec::new();
    for (folder, names) in folders {
        for (index, name) in names.into_iter().enumerate() {
            let wanted = format!("{:04}_", index + 1);
            let is_sql = name.rsplit_once('.').is_some_and(|(_, end)| end == "sql");
            if !is_sql || !name.starts_with(&wanted) {
                let path = format!("{folder}{name}");
                let text =
                    format!("migrations are numbered without gaps; here `{wanted}name.sql` is due");
                findings.push(Finding::error(&path, 1, text));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<File> {
        paths.iter().map(|path| File::new(*path, "")).collect()
    }

    #[test]
    fn codes_and_pages_belong_together() {
        let text =
            "codes! {\n    /// Doc.\n    NotFound = \"NOT_FOUND\";\n    Busy = \"BUSY\";\n}\n";
        let mut all =
            files(&["docs/errors/BUSY.md", "docs/errors/GONE.md", "docs/errors/README.md"]);
        all.push(File::new(CODES, text));
        let found: Vec<_> = error_pages(&all).into_iter().map(|f| (f.path, f.line)).collect();
        assert_eq!(found, [(CODES.to_owned(), 3), ("docs/errors/GONE.md".to_owned(), 1)]);
    }

    #[test]
    fn only_codes_are_codes() {
        assert_eq!(code("    Busy = \"BUSY\";"), Some("BUSY"));
        assert_eq!(code("let a = \"BUSY\";"), None);
        assert_eq!(code("    Busy = \"Busy\";"), None);
    }

    #[test]
    fn migrations_have_no_gaps() {
        let at = |name: &str| format!("{MIGRATIONS}sqlite/{name}");
        let good = [at("0001_a.sql"), at("0002_b.sql")];
        assert_eq!(migrations(&files(&good.each_ref().map(String::as_str))), []);
        for bad in [[at("0001_a.sql"), at("0003_b.sql")], [at("0001_a.sql"), at("0001_b.sql")]] {
            let found = migrations(&files(&bad.each_ref().map(String::as_str)));
            assert_eq!(found.len(), 1);
            assert!(found[0].text.contains("`0002_name.sql`"));
        }
    }
}
