//! What must not stay in code: unfinished work without an owner, silenced lints, `unsafe`.

use super::finding::Finding;
use super::lexer;
use super::tree::{File, line_of, numbered};

/// The one form of a reminder: this word, an owner in brackets, a colon.
const MARK: &str = "TODO";
/// Words that say the same without an owner.
const OTHER_MARKS: [&str; 2] = ["FIXME", "XXX"];
/// Code that is not done, or not tested.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "#[ignore"];
const ALLOWS: [&str; 2] = ["#[allow(", "#![allow("];
const EXPECTS: [&str; 2] = ["#[expect(", "#![expect("];
/// Texts of others, kept as they are.
const NOT_OURS: [&str; 3] = ["fixtures/", "LICENSE", "Cargo.lock"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !NOT_OURS.iter().any(|path| file.path.starts_with(path)))
    {
        if file.is_rust() {
            let split = file.split();
            reminders(file, &split.comments, &mut findings);
            unfinished(file, &split.code, &mut findings);
            attributes(file, &split.code, &mut findings);
        } else {
            reminders(file, &file.text, &mut findings);
        }
    }
    findings
}

fn reminders(file: &File, text: &str, findings: &mut Vec<Finding>) {
    for (number, line) in numbered(text) {
        for at in lexer::words(line, MARK) {
            if !has_owner(&line[at..]) {
                let text = format!("{MARK} without an owner; write `{MARK}(name): what`, or do it");
                findings.push(Finding::error(&file.path, number, text));
            }
        }
        for word in OTHER_MARKS.into_iter().filter(|word| lexer::has_word(line, word)) {
            let text = format!("{word} has no owner; write `{MARK}(name): what`, or do it");
            findings.push(Finding::error(&file.path, number, text));
        }
    }
}

/// Whether a text that begins with the mark goes on with an owner.
fn has_owner(text: &str) -> bool {
    let owner = text[MARK.len()..].strip_prefix('(').and_then(|rest| rest.split_once("):"));
    owner.is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.@".contains(c))
    })
}

fn unfinished(file: &File, code: &str, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = file.text.lines().collect();
    for (number, line) in numbered(code) {
        for word in UNFINISHED.into_iter().filter(|word| line.contains(word)) {
            let near = &lines[number.saturating_sub(2)..number];
            let owned =
                near.iter().any(|line| lexer::words(line, MARK).any(|at| has_owner(&line[at..])));
            if !owned {
                let text = format!(
                    "`{word}` without an owner; do it, or write `// {MARK}(name): why` on the line above"
                );
                findings.push(Finding::error(&file.path, number, text));
            }
        }
    }
}

fn attributes(file: &File, code: &str, findings: &mut Vec<Finding>) {
    for (number, line) in numbered(code) {
        if lexer::has_word(line, "unsafe") {
            let text = "`unsafe` is forbidden; find a safe way, or a library that has one";
            findings.push(Finding::error(&file.path, number, text));
        }
        let hidden = line.contains("cfg_attr(") && line.contains(" allow(");
        if hidden || ALLOWS.iter().any(|allow| line.contains(allow)) {
            let text = "`allow` outlives its reason; write `#[expect(lint, reason = \"…\")]`";
            findings.push(Finding::error(&file.path, number, text));
        }
    }
    for (at, _) in EXPECTS.iter().flat_map(|expect| code.match_indices(expect)) {
        let inside = code[at..].split_once(']').map_or("", |(inside, _)| inside);
        if !lexer::has_word(inside, "reason") {
            let text = "`expect` without a reason; add `reason = \"…\"`";
            findings.push(Finding::error(&file.path, line_of(code, at), text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&[File::new(path, text)]).into_iter().map(|finding| finding.line).collect()
    }

    fn rust(text: &str) -> Vec<usize> {
        lines("crates/a/src/a.rs", text)
    }

    #[test]
    fn reminders_have_owners() {
        assert_eq!(rust("// TODO(ada): later\nlet a = \"TODO\";\n"), NONE);
        assert_eq!(rust("// TODO later\n// TODO(): x\n// FIXME\n// XXX\n// XXXX\n"), [1, 2, 3, 4]);
        assert_eq!(lines(".ci/run", "a # TODO b\n"), [1]);
        assert_eq!(lines("fixtures/a.md", "TODO\n"), NONE);
    }

    #[test]
    fn unfinished_code_has_an_owner() {
        assert_eq!(rust("todo!()\nunimplemented!()\n\n#[ignore = \"x\"]\n"), [1, 2, 4]);
        assert_eq!(
            rust("// TODO(ada): needs a disk\n#[ignore]\ntodo!() // TODO(ada): soon\n"),
            NONE
        );
        assert_eq!(rust("// todo!()\nlet a = \"todo!()\";\n"), NONE);
    }

    #[test]
    fn lints_are_expected_with_a_reason() {
        assert_eq!(rust("#[allow(dead_code)]\n#![allow(x)]\nfn allow(a: u8) {}\n"), [1, 2]);
        assert_eq!(rust("#[cfg_attr(unix, allow(dead_code))]\n"), [1]);
        assert_eq!(
            rust(
                "#[expect(x, reason = \"y\")]\n#[expect(x)]\n#[expect(\n  x,\n  reason = \"]\"\n)]\n"
            ),
            [2]
        );
    }

    #[test]
    fn code_is_safe() {
        assert_eq!(rust("unsafe { x() }\n// unsafe\n#![forbid(unsafe_code)]\n"), [1]);
    }
}
