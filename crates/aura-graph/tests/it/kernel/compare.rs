//! Comparing runs by their facts: what counts as the same, and where two runs part.

use aura_core::event::Event;
use aura_graph::compare::{Comparison, Side};
use serde_json::{Value, json};

fn event(text: &str) -> Event {
    let (step, kind, data) = match text.split(' ').collect::<Vec<_>>()[..] {
        [step, "started"] => (step, "step.started", json!({ "work": "set" })),
        [step, "gives", value] => {
            let output: Value = serde_json::from_str(value).unwrap();
            let output = json!({ "value": { "json": output } });
            (step, "step.completed", json!({ "output": output, "state": "0".repeat(64) }))
        }
        [step, "asked"] => (step, "timer.set", json!({ "purpose": "sleep", "due": 1 })),
        _ => panic!("{text}"),
    };
    serde_json::from_value(json!({ "step": step, "type": kind, "data": data })).unwrap()
}

fn compared(one: &[&str], other: &[&str], whole: [bool; 2]) -> String {
    let mut comparison = Comparison::new();
    for place in 0..one.len().max(other.len()) {
        for (side, run) in [(Side::Left, one), (Side::Right, other)] {
            if let Some(text) = run.get(place) {
                comparison.take(side, place as u64 + 1, &event(text));
            }
        }
    }
    let told = |fact: Option<aura_graph::compare::Numbered>| {
        fact.map_or_else(|| "-".to_owned(), |fact| fact.seq.to_string())
    };
    match comparison.finish(whole) {
        None => "same".to_owned(),
        Some(divergence) => format!("{} {}", told(divergence.left), told(divergence.right)),
    }
}

#[test]
fn the_first_fact_that_differs_is_found_whatever_the_order() {
    let both = [true, true];
    let base = ["a started", "b started", "a gives 1", "b gives 2"];
    let turned = ["b started", "a started", "b gives 2", "a gives 1"];
    assert_eq!(compared(&base, &base, both), "same");
    assert_eq!(compared(&base, &turned, both), "same", "branches may end in any order");
    let more = ["a asked", "a started", "b started", "a gives 1", "b gives 2"];
    assert_eq!(compared(&base, &more, both), "same", "a timer is no fact");
    let other = ["b started", "a started", "a gives 1.0", "b gives 3"];
    assert_eq!(compared(&base, &other, both), "4 4", "1 and 1.0 are one value");
    let late = ["b started", "a started", "c started", "b gives 3", "a gives 7"];
    assert_eq!(compared(&base, &late, both), "3 5", "the first of either side counts");
    assert_eq!(compared(&base, &base[..3], both), "4 -");
    assert_eq!(compared(&base[..3], &base, both), "- 4");
}

#[test]
fn what_may_still_come_is_no_difference() {
    let base = ["a started", "b started", "a gives 1", "b gives 2"];
    assert_eq!(compared(&base, &base[..3], [true, false]), "same");
    assert_eq!(compared(&base[..3], &base, [false, true]), "same");
    assert_eq!(compared(&base[..3], &base, [true, false]), "- 4");
    assert_eq!(compared(&["a gives 1"], &["a gives 2"], [false, false]), "1 1");
}

#[test]
fn what_is_too_far_from_its_like_counts_as_another() {
    let steps: Vec<_> = (0..20_000).map(|n| format!("s{n} started")).collect();
    let mut comparison = Comparison::new();
    for (place, text) in steps.iter().enumerate() {
        comparison.take(Side::Left, place as u64 + 1, &event(text));
    }
    assert!(comparison.over(), "it keeps no more than its limit");
    let divergence = comparison.finish([true, true]).unwrap();
    assert_eq!(divergence.left.map(|fact| fact.seq), Some(1));
}
