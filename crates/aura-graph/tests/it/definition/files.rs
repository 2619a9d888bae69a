//! The fixtures and the pages that show flows: the good ones load, the broken ones say what to do.

use std::fmt::Write;
use std::fs;

use aura_graph::definition::{Diagnostics, Kind};
use serde_json::json;

use super::{fixtures, read, root};

#[test]
fn good_fixtures_load() {
    let files = fixtures("good");
    assert!(files.len() >= 12);
    for (name, source) in files {
        if let Err(problems) = read(&source) {
            panic!("{name}\n{problems}");
        }
    }
}

/// What a person sees of the problems of a file: place, line of the file, message, what to do.
fn printed(name: &str, source: &str, problems: &Diagnostics) -> String {
    let mut out = String::new();
    for problem in &problems.problems {
        let line = source.lines().nth(problem.line - 1).unwrap_or_default();
        writeln!(out, "{name}:{}:{}: {}", problem.line, problem.column, problem.message).unwrap();
        writeln!(out, "  | {}", line.trim_end()).unwrap();
        if !problem.path.is_empty() {
            writeln!(out, "  at {}", problem.path).unwrap();
        }
        if let Some(suggestion) = &problem.suggestion {
            writeln!(out, "  help: {suggestion}").unwrap();
        }
    }
    if problems.omitted > 0 {
        writeln!(out, "and {} more", problems.omitted).unwrap();
    }
    out
}

#[test]
fn broken_fixtures_say_what_to_do() {
    let files = fixtures("broken");
    assert!(files.len() >= 20);
    for (name, source) in files {
        let Err(problems) = read(&source) else { panic!("{name} has no problem") };
        let printed = printed(&name, &source, &problems);
        insta::assert_snapshot!(name.trim_end_matches(".yaml"), printed);
    }
}

/// Each block of `docs/flows.md` that starts with a flow is one, and a person may copy it.
#[test]
fn flows_of_the_reference_load() {
    let page = fs::read_to_string(root().join("docs/flows.md")).unwrap();
    let mut flows = 0;
    for block in page.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        if !block.starts_with("flow:") {
            continue;
        }
        flows += 1;
        if let Err(problems) = read(block) {
            panic!("{block}\n{problems}");
        }
    }
    assert!(flows >= 10, "{flows}");
}

#[test]
fn json_texts_are_read_as_json() {
    let long = "k".repeat(2_000);
    let cases = [
        (r#""\ud83d\ude00""#.to_owned(), json!("😀")),
        (r#""a\/b\u20ac\t""#.to_owned(), json!("a/b€\t")),
        (format!(r#"{{"{long}" : 1}}"#), json!({ long.as_str(): 1 })),
        ("[\t1,\n\t2\n]".to_owned(), json!([1, 2])),
        ("1e3".to_owned(), json!(1000.0)),
        (r#"{"a":"b","c":[]}"#.to_owned(), json!({ "a": "b", "c": [] })),
    ];
    for (text, expected) in cases {
        let source = format!(
            r#"{{"flow":"f","nodes":[{{"id":"a","tool":"echo","with":{{"value":{text}}}}}]}}"#
        );
        let flow = read(&source).unwrap_or_else(|problems| panic!("{source}\n{problems}"));
        let Kind::Tool { with, .. } = &flow.body.nodes[0].kind else { panic!("not a tool") };
        assert_eq!(with.as_literal(), Some(&json!({ "value": expected })), "{text}");
    }
}

#[test]
fn line_ends_and_byte_order_marks() {
    let source = "\u{feff}flow: f\r\nnodes:\r\n  - id: é\r\n    tool: bench.noop\r\n";
    let problems = read(source).unwrap_err();
    assert_eq!(problems.problems.len(), 1, "{problems}");
    assert_eq!((problems.problems[0].line, problems.problems[0].column), (3, 9));
    assert_eq!(&source[problems.problems[0].span.clone()], "é");
    assert_eq!(
        problems.problems[0].to_string(),
        "3:9: 'é' can't be a name: use letters, digits and '_'"
    );
    assert!(read(&source.replace('é', "e")).is_ok());
    for (text, message) in [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("flow: a\n---\nflow: b\n", "a second document starts here; a flow file has one"),
        ("flow: \0", "the file contains a zero byte: it is not text"),
        ("flow: 'a", "the YAML can't be read"),
        ("flow: *x", "the alias has no anchor above it"),
        ("flow: f\nnodes: []\n? [a]\n: b\n", "a list of nodes can't be empty"),
        ("? [a]\n: b\nflow: f\nvars: 1\n", "a key is a text, not a list"),
        ("{\"flow\": \"f\", \"flow\": \"g\", \"nodes\": []}", "the key 'flow' is given twice"),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems.problems[0].message.starts_with(message), "{text:?}: {problems}");
    }
}
