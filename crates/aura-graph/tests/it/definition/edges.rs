//! Edges: what `after`, `next`, `on_error` and the order of the lines come to.

use aura_graph::definition::{Body, OnError};

use super::{messages, read};

/// Nodes by id, with their keys.
type List = &'static [(&'static str, &'static str)];

/// The edges of the flow's own list in words: `from -via-> to`, routes and handlers.
fn edges(nodes: &str) -> Vec<String> {
    let source = format!("flow: f\nnodes:\n{nodes}");
    let flow = read(&source).unwrap_or_else(|problems| panic!("{source}\n{problems}"));
    let body: &Body = &flow.body;
    let mut out = Vec::new();
    for node in &body.nodes {
        for edge in &node.incoming {
            let via = format!("{:?}", edge.via).to_lowercase();
            out.push(format!("{} -{via}-> {}", body.nodes[edge.from].id, node.id));
        }
        for route in node.next.iter().filter(|route| route.back) {
            out.push(format!("{} -back-> {}", node.id, body.nodes[route.to].id));
        }
        if let OnError::Goto(to) = node.on_error {
            out.push(format!("{} -handler-> {}", node.id, body.nodes[to].id));
        }
    }
    out
}

fn problems(nodes: &str) -> Vec<String> {
    messages(&format!("flow: f\nnodes:\n{nodes}"))
}

/// A node that does nothing, with more keys.
fn node(id: &str, keys: &str) -> String {
    format!(
        "  - {{ id: {id}, tool: bench.noop{}{keys} }}\n",
        if keys.is_empty() { "" } else { ", " }
    )
}

fn list(nodes: &[(&str, &str)]) -> String {
    nodes.iter().map(|(id, keys)| node(id, keys)).collect()
}

#[test]
fn order_after_and_starts() {
    assert_eq!(
        edges(&list(&[("a", ""), ("b", ""), ("c", "")])),
        ["a -implicit-> b", "b -implicit-> c"]
    );
    let own = list(&[
        ("a", ""),
        ("b", "after: []"),
        ("c", ""),
        ("d", "after: [a, c]"),
        ("e", "after: a"),
    ]);
    assert_eq!(edges(&own), ["b -implicit-> c", "a -after-> d", "c -after-> d", "a -after-> e"]);
    // A node above may wait for one below.
    let below = list(&[("a", "after: b"), ("b", "after: []")]);
    assert_eq!(edges(&below), ["b -after-> a"]);
}

#[test]
fn targets_and_handlers_stand_outside_the_order() {
    let routes = list(&[
        ("a", "next: [{ when: $run.key, to: c }], on_error: h"),
        ("b", ""),
        ("c", ""),
        ("h", "next: e"),
        ("d", ""),
        ("e", ""),
    ]);
    let expected = [
        "a -handler-> h",
        "a -implicit-> b",
        "a -next-> c",
        "a -error-> h",
        "b -implicit-> d",
        "h -next-> e",
    ];
    let mut found = edges(&routes);
    found.sort();
    let mut expected: Vec<_> = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(found, expected);
    // A target may also wait for others; two routes to one target are one edge.
    let both = list(&[
        ("a", "next: [{ when: $run.key, to: c }, { to: c }]"),
        ("b", "after: []"),
        ("c", "after: b"),
    ]);
    assert_eq!(edges(&both), ["a -next-> c", "b -after-> c"]);
}

/// The keys of a node that may go back to `a`.
const BACK: &str = "next: [{ when: $run.key, to: a }]";

#[test]
fn jumps_back() {
    let jump = list(&[("a", ""), ("b", ""), ("c", "next: [{ when: $run.key, to: b }]"), ("d", "")]);
    assert_eq!(
        edges(&jump),
        ["a -implicit-> b", "b -implicit-> c", "c -back-> b", "c -implicit-> d"]
    );
    let same = list(&[("a", "next: [{ when: $run.key, to: a }]")]);
    assert_eq!(edges(&same), ["a -back-> a"]);

    let refused: &[(List, &str)] = &[
        (&[("a", ""), ("b", "after: a"), ("c", BACK)], "'b' waits for 'a'"),
        (&[("a", ""), ("b", "after: []"), ("c", BACK)], "'b' has an 'after'"),
        (
            &[("a", ""), ("b", "next: [{ when: $run.key, to: d }]"), ("c", BACK), ("d", "")],
            "'b' has a 'next' of its own",
        ),
        (
            &[("a", "on_error: d"), ("b", ""), ("c", BACK), ("d", "")],
            "'a' leads to 'd' when it fails",
        ),
        (&[("a", ""), ("c", BACK), ("d", "after: a")], "'d' waits for 'a'"),
        (
            &[("a", ""), ("c", "next: [{ when: $run.key, to: a }, { to: d }]"), ("d", "")],
            "'c' has another route",
        ),
        (
            &[
                ("z", "next: [{ when: $run.key, to: a }]"),
                ("y", ""),
                ("a", ""),
                ("c", "after: [a], next: [{ when: $run.key, to: a }]"),
            ],
            "'z' leads to 'a' as well",
        ),
    ];
    for (nodes, why) in refused {
        let found = problems(&list(nodes));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(why), "{} / {why}", found[0]);
    }
}

#[test]
fn ways_in_and_cycles() {
    let cases: &[(List, &[&str])] = &[
        (
            &[("a", "next: c"), ("b", ""), ("c", "")],
            &["no way leads to 'b': 'a' always goes to 'c'"],
        ),
        (&[("a", "next: c"), ("b", "after: []"), ("c", "")], &[]),
        // What follows a node that nothing leads to is told with it.
        (
            &[("a", "next: d"), ("b", ""), ("c", "after: b"), ("d", "")],
            &["no way leads to 'b': 'a' always goes to 'd'"],
        ),
        (&[("a", "after: b"), ("b", "after: a")], &["cycle: a → b → a"]),
        (&[("a", ""), ("h", "next: b"), ("b", "on_error: h")], &["cycle: h → b → h"]),
        (&[("a", "after: a")], &["'a' can't wait for itself"]),
        (&[("a", "on_error: a")], &["'a' can't handle its own failure"]),
        (&[("a", "after: [b, b]"), ("b", "after: []")], &["'b' is named twice"]),
        (
            &[("a", "next: [{ to: b }, { to: b }]"), ("b", "")],
            &["this route is never taken: the one above has no 'when'"],
        ),
    ];
    for (nodes, expected) in cases {
        assert_eq!(problems(&list(nodes)), *expected, "{nodes:?}");
    }
}
