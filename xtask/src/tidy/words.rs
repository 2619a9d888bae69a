//! What tells of the machine or the circumstances in which a text was written, and means nothing to its readers.

use super::finding::Finding;
use super::tree::File;

/// Something that must not be written, put together here so that this file does not contain it.
struct Banned {
    text: &'static str,
    instead: &'static str,
}

const PATH: &str =
    "a path of one machine; name it from the root of the repository, or with a variable";
const MIRROR: &str =
    "a place that packages come from on one machine; leave it to that machine's own settings";
const WRITER: &str = "how a text was written is no part of it; say what is so, and why";

const BANNED: &[Banned] = &[
    Banned { text: concat!("/wo", "rk/"), instead: PATH },
    Banned { text: concat!("/ro", "ot/"), instead: PATH },
    Banned { text: concat!("/ho", "me/"), instead: PATH },
    Banned { text: concat!("arti", "factory"), instead: MIRROR },
    Banned { text: concat!("verd", "accio"), instead: MIRROR },
    Banned { text: concat!("replace", "-with"), instead: MIRROR },
    Banned { text: concat!("index", "-url"), instead: MIRROR },
    Banned { text: concat!("co-authored", "-by:"), instead: WRITER },
    Banned { text: concat!("coding ", "assistant"), instead: WRITER },
    Banned { text: concat!("assistant", " session"), instead: WRITER },
    Banned { text: concat!("session of an ", "assistant"), instead: WRITER },
    Banned { text: concat!("as an ai language ", "model"), instead: WRITER },
];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in file.lines() {
            let line = line.to_ascii_lowercase();
            for banned in BANNED.iter().filter(|banned| has(&line, banned.text)) {
                let text = format!("'{}': {}", banned.text, banned.instead);
                findings.push(Finding::error(&file.path, number, text));
            }
        }
    }
    findings
}

/// Whether a lower-case line has the text; a path counts only where a path can begin.
fn has(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let inner = |c: char| c.is_alphanumeric() || "_-.~/}{*>".contains(c);
        !(text.starts_with('/') && line[..at].ends_with(inner))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found() {
        let text = concat!("see fixtures/wo", "rk/a and ~/ro", "ot/b\nin /Ho", "me/ada/x\n");
        let found = check(&[File::new("docs/a.md", text)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
        assert!(found[0].text.contains("from the root of the repository"));
    }

    #[test]
    fn who_wrote_it_is_found() {
        let text = concat!("Co-Authored", "-By: a\nassistants in session\n");
        let found: Vec<_> = check(&[File::new("a.md", text)]).into_iter().map(|f| f.line).collect();
        assert_eq!(found, [1]);
    }
}
