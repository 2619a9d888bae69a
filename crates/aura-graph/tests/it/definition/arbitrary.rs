//! Whatever the text, there is an answer, and every problem has a place within the file.

use aura_core::limits;
use aura_graph::definition::Diagnostics;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::read;

fn places_are_in_the_file(source: &str, problems: &Diagnostics) {
    assert!(!problems.problems.is_empty());
    assert!(problems.problems.len() <= limits::FLOW_PROBLEMS);
    let mut last = 0;
    for problem in &problems.problems {
        assert!(source.get(problem.span.clone()).is_some(), "{problem:?}");
        assert!(problem.line >= 1 && problem.line <= source.split('\n').count(), "{problem:?}");
        assert!(problem.column >= 1, "{problem:?}");
        assert!(problem.span.start >= last, "sorted by place");
        assert!(!problem.message.ends_with('.'), "{problem}");
        last = problem.span.start;
    }
}

/// Words of flow files, so that arbitrary texts get past the first checks now and then.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("flow: f\n".to_owned()),
        Just("nodes:\n".to_owned()),
        Just("  - id: a\n".to_owned()),
        Just("    tool: echo\n".to_owned()),
        Just("    with: { value: 1 }\n".to_owned()),
        Just("    next: a\n".to_owned()),
        Just("    after: [a, b]\n".to_owned()),
        Just("    map: { items: [1], do: [{ id: b, tool: fail }] }\n".to_owned()),
        Just("output: \"{{ steps.a.output }}\"\n".to_owned()),
        Just("{{ input.é[0] | upper }}".to_owned()),
        Just("&a ".to_owned()),
        Just("*a ".to_owned()),
        Just("é: ü\n".to_owned()),
        Just("\r\n".to_owned()),
        "[\\[\\]{},:\\- \n\"'#&*!|>%@`a-z0-9]{0,12}",
    ]
}

/// A JSON value of bounded size.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15).prop_map(|number: f64| json!(number)),
        // Braces make templates, and '$' short references.
        "[^{$]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[^{$]{0,8}", inner, 0..6).prop_map(|map| Value::Object(
                map.into_iter().filter(|(k, _)| k != "<<").collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_an_answer(source in any::<String>()) {
        if let Err(problems) = read(&source) {
            places_are_in_the_file(&source, &problems);
        }
    }

    #[test]
    fn any_words_have_an_answer(words in prop::collection::vec(word(), 0..30)) {
        let source = words.concat();
        if let Err(problems) = read(&source) {
            places_are_in_the_file(&source, &problems);
        }
    }

    /// A file with one place changed is still answered.
    #[test]
    fn any_change_has_an_answer(file in 0..12_usize, at in any::<prop::sample::Index>(), text in "\\PC{0,4}") {
        let (_, mut source) = super::fixtures("good").swap_remove(file);
        let at = source.floor_char_boundary(at.index(source.len()));
        source.insert_str(at, &text);
        if let Err(problems) = read(&source) {
            places_are_in_the_file(&source, &problems);
        }
    }

    /// A value of a JSON file is the value that a tool gets.
    #[test]
    fn json_round_trips(value in value()) {
        let source = json!({
            "flow": "f",
            "nodes": [{ "id": "a", "tool": "echo", "with": { "value": value } }],
        });
        for text in [source.to_string(), serde_json::to_string_pretty(&source).unwrap()] {
            let flow = match read(&text) {
                Ok(flow) => flow,
                Err(problems) => panic!("{text}\n{problems}"),
            };
            let aura_graph::definition::Kind::Tool { with, .. } = &flow.body.nodes[0].kind else {
                panic!("not a tool");
            };
            prop_assert_eq!(with.as_literal(), Some(&json!({ "value": value.clone() })));
        }
    }
}
