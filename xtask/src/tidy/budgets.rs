//! Small things stay small: lines per file, lines of the core, methods per port.

use super::finding::Finding;
use super::lexer;
use super::tree::{File, line_of};

/// Beyond this a file is worth a thought.
const FILE_NOTE: usize = 400;
/// Beyond this it must be split.
const FILE_ERROR: usize = 800;
const CORE: &str = "crates/aura-core/src";
const CORE_LINES: usize = 5_000;
const PORTS: &str = "crates/aura-core/src/ports/";
const PORT_METHODS: usize = 12;
const MAP: &str = "ARCHITECTURE.md";
const MAP_LINES: usize = 300;

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        findings.extend(file_lines(file));
        if file.path.starts_with(PORTS) {
            findings.extend(port_methods(file));
        }
    }
    findings.extend(core_lines(files));
    for map in files.iter().filter(|file| file.path == MAP) {
        let lines = map.text.lines().count();
        if lines > MAP_LINES {
            let text =
                format!("{lines} lines; a map has at most {MAP_LINES}, move detail into docs/");
            findings.push(Finding::error(MAP, lines, text));
        }
    }
    findings
}

fn file_lines(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    if lines > FILE_ERROR {
        let text = format!("{lines} lines, at most {FILE_ERROR}; split the file by noun");
        return Some(Finding::error(&file.path, lines, text));
    }
    let text = format!("{lines} lines; beyond {FILE_NOTE} look for a second noun in it");
    (lines > FILE_NOTE).then(|| Finding::note(&file.path, lines, text))
}

fn core_lines(files: &[File]) -> Option<Finding> {
    let core = files.iter().filter(|file| file.is_rust() && file.path.starts_with(CORE));
    let lines: usize = core.map(|file| file.text.lines().count()).sum();
    let text = format!(
        "{lines} lines, at most {CORE_LINES}; every crate is rebuilt after this one, so it holds words and ports only"
    );
    (lines > CORE_LINES).then(|| Finding::error(CORE, 1, text))
}

/// Traits with too many methods: each is paid again by every back end, decorator and fake.
fn port_methods(file: &File) -> Vec<Finding> {
    let code = file.split().code;
    let mut findings = Vec::new();
    for at in lexer::words(&code, "trait") {
        let rest = &code[at..];
        let name = rest["trait".len()..].split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let name = name.into_iter().find(|part| !part.is_empty()).unwrap_or_default();
        let methods = lexer::words(body(rest), "fn").count();
        if methods > PORT_METHODS {
            let text = format!(
                "port {name} has {methods} methods, at most {PORT_METHODS}; \
                 make one of several, or a second port"
            );
            findings.push(Finding::error(&file.path, line_of(&code, at), text));
        }
    }
    findings
}

/// What stands between the first brace and the one that closes it.
fn body(code: &str) -> &str {
    let start = code.find('{').unwrap_or(code.len());
    let mut depth = 0_usize;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[start..start + at];
        }
    }
    &code[start..]
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn of_lines(path: &str, lines: usize) -> File {
        File::new(path, "x\n".repeat(lines))
    }

    #[test]
    fn long_files_are_noted_and_longer_ones_are_errors() {
        let files = [
            of_lines("crates/a/src/a.rs", 400),
            of_lines("crates/a/src/b.rs", 401),
            of_lines("crates/a/tests/c.rs", 801),
            of_lines("docs/d.md", 900),
        ];
        let found: Vec<_> = check(&files).into_iter().map(|f| (f.level, f.line)).collect();
        assert_eq!(found, [(Level::Note, 401), (Level::Error, 801)]);
    }

    #[test]
    fn the_core_and_the_map_have_budgets() {
        let path = |n| format!("crates/aura-core/src/{n}.rs");
        let mut files: Vec<_> = (0..20).map(|n| of_lines(&path(n), 250)).collect();
        files.push(of_lines("ARCHITECTURE.md", 300));
        assert_eq!(check(&files), []);
        files.push(of_lines(&path(20), 1));
        files.push(of_lines("ARCHITECTURE.md", 301));
        assert_eq!(check(&files).len(), 2);
    }

    #[test]
    fn ports_are_narrow() {
        let port = |methods| {
            format!("/// fn fn\ntrait Port: Send {{\n{}}}\n", "fn a();\n".repeat(methods))
        };
        let other = "impl X { fn a() {} }\n".repeat(20);
        let path = "crates/aura-core/src/ports/port.rs";
        assert_eq!(check(&[File::new(path, format!("{}{other}", port(12)))]), []);
        let found = check(&[File::new(path, format!("{other}{}", port(13)))]);
        assert_eq!(found[0].line, 22);
        assert!(found[0].text.starts_with("port Port has 13 methods"));
    }
}
