//! The text files of the repository.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::lexer::{self, Split};
use crate::process;

/// A file.
#[derive(Debug)]
pub(super) struct File {
    /// Its path from the root, with `/`.
    pub(super) path: String,
    /// What is in it; empty if it is not text.
    pub(super) text: String,
}

impl File {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The file's name.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether it is Rust.
    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|end| end == "rs")
    }

    /// Its lines with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.text)
    }

    /// Its code and its comments, apart.
    pub(super) fn split(&self) -> Split {
        lexer::split(&self.text)
    }
}

/// Lines, counted from 1.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// The line, from 1, in which a byte of a text lies.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Every file that git has, or would take.
pub(super) fn load(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut git = Command::new("git");
    // A clone that belongs to another user is read here, nothing in it is run.
    git.current_dir(root).args(["-c", "safe.directory=*", "ls-files", "-z"]);
    git.args(["--cached", "--others", "--exclude-standard"]);
    let list = String::from_utf8(process::output(&mut git)?).context("a path is not UTF-8")?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0') {
        let full = root.join(path);
        // Files that are removed but not yet committed as such are still in git's list.
        if full.is_file() {
            let bytes = std::fs::read(&full).with_context(|| format!("can't read {path}"))?;
            files.push(File::new(path, String::from_utf8(bytes).unwrap_or_default()));
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(line_of("a\nb\nc", 0), 1);
        assert_eq!(line_of("a\nb\nc", 4), 3);
        assert_eq!(numbered("a\nb").last(), Some((2, "b")));
    }

    #[test]
    fn new_files_count_and_ignored_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let git = Command::new("git").arg("init").arg("-q").current_dir(folder.path()).status();
        assert!(git.unwrap().success());
        for (name, text) in [(".gitignore", "/out\n"), ("out", "x"), ("new.txt", "y")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let files = load(folder.path()).unwrap();
        let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".gitignore", "new.txt"]);
        assert_eq!(files[1].text, "y");
    }
}
