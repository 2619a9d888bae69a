//! What follows what: edges, routes, bodies, limits of a turn.

use aura_core::error::Code;
use aura_core::input::Input;
use serde_json::json;

use super::bench::{Bench, certain, succeeded};

#[test]
fn a_sequential_step_and_the_next_intent_share_a_commit() {
    let mut bench = Bench::new(
        "flow: two\nnodes:\n  - { id: a, tool: sim.idempotent, with: { n: 1 } }\n  - { id: b, tool: sim.idempotent, with: { n: $steps.a.output.n } }\n",
        json!({}),
    );
    bench.succeed("a", json!({ "n": 7 }));
    bench.succeed("b", json!("end"));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn without_a_free_slot_a_step_is_ready_without_intent_until_it_is_granted() {
    let source = "flow: one\nnodes:\n  - { id: a, tool: sim.irreversible, with: {} }\n";
    let mut bench = Bench::with_slots(source, json!({}), 0);
    assert_eq!(bench.run.ready().count(), 1);
    bench.nothing(&Input::Granted { steps: vec!["a".into()] });
    bench.slots = 1;
    bench.give(Input::Granted { steps: vec!["a".into()] });
    bench.succeed("a", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn routes_make_what_is_not_taken_dead() {
    let source = r#"
flow: routes
nodes:
  - id: a
    tool: sim.pure
    with: {}
    next: [{ when: "{{ steps.a.output == 'far' }}", to: far }]
  - { id: near, tool: sim.pure, with: {} }
  - { id: far, tool: sim.pure, with: {} }
  - { id: end, after: [near, far], tool: sim.pure, with: {} }
output: "{{ [steps.near.status, steps.far.status, steps.near.output] }}"
"#;
    let mut far = Bench::new(source, json!({}));
    far.succeed("a", json!("far"));
    far.succeed("far", json!(1));
    far.succeed("end", json!(1));
    insta::assert_snapshot!("far", far.history());
    let mut near = Bench::new(source, json!({}));
    near.succeed("a", json!("near"));
    near.succeed("near", json!(1));
    near.succeed("end", json!(1));
    insta::assert_snapshot!("near", near.history());
}

#[test]
fn a_jump_back_visits_again_until_its_limit() {
    let source = r#"
flow: back
nodes:
  - { id: a, tool: sim.pure, with: {}, max_visits: 2 }
  - { id: b, tool: sim.pure, with: {}, next: [{ when: "{{ steps.b.output }}", to: a }] }
"#;
    let mut bench = Bench::new(source, json!({}));
    for visit in ["", "#2"] {
        bench.succeed(&format!("a{visit}"), json!(null));
        bench.succeed(&format!("b{visit}"), json!(true));
    }
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_skipped_step_lets_its_followers_live_and_its_output_is_null() {
    let source = r#"
flow: skip
nodes:
  - { id: a, tool: sim.pure, with: {}, when: "{{ input.yes }}" }
  - { id: b, set: { seen: "{{ steps.a.output.deep.down }}" } }
output: [$vars.seen, $steps.a.status]
"#;
    let bench = Bench::new(source, json!({ "yes": false }));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_missing_field_fails_the_step_and_names_the_path() {
    let source = "flow: miss\nnodes:\n  - { id: a, set: { x: $input.nope.deep } }\n";
    let bench = Bench::new(source, json!({ "some": 1 }));
    let aura_graph::state::Phase::Failed(error, _) = &bench.run.phase else {
        panic!("{:?}", bench.run.phase)
    };
    assert_eq!(error.code, Code::InvalidInput);
    assert!(error.message.contains("'input.nope' is not defined"), "{}", error.message);
}

#[test]
fn a_turn_that_reaches_its_limit_goes_on_in_the_next() {
    let source = "flow: many\nnodes:\n  - id: l\n    loop: { times: 600, do: [{ id: s, set: { n: $loop.index } }] }\noutput: $vars.n\n";
    let mut bench = Bench::new(source, json!({}));
    let mut turns = 1;
    while bench.run.more {
        bench.give(Input::Continue);
        turns += 1;
    }
    assert_eq!(turns, 3, "600 iterations at 256 transitions a turn");
    assert!(bench.history().ends_with("run.completed 599\n--\n"));
}

#[test]
fn a_loop_without_end_fails_at_its_limit() {
    let source = r#"
flow: endless
nodes:
  - id: l
    loop: { while: "{{ true }}", max: 3, do: [{ id: s, set: { n: $loop.index } }] }
"#;
    let bench = Bench::new(source, json!({}));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn items_start_in_order_as_others_end_and_the_first_failure_stops_the_map() {
    let source = r"
flow: map
nodes:
  - id: m
    map:
      items: [0, 1, 2, 3]
      concurrency: 2
      do: [{ id: t, tool: sim.idempotent, with: { n: $item } }]
";
    let mut bench = Bench::new(source, json!({}));
    bench.succeed("m[1]/t", json!(1));
    bench.fail("m[0]/t", certain(Code::NotFound));
    // Item 2 may have acted: it is awaited, and item 3 never starts.
    bench.succeed("m[2]/t", json!(2));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn late_and_foreign_outcomes_change_nothing() {
    let source = "flow: one\nnodes:\n  - { id: a, tool: sim.idempotent, with: {} }\n  - { id: b, sleep: 1h }\n";
    let mut bench = Bench::new(source, json!({}));
    let first = bench.outcome("a", succeeded(json!(1)));
    let Input::Outcome(mut foreign) = first.clone() else { unreachable!() };
    foreign.call = aura_core::Hash::of(b"another call");
    bench.nothing(&Input::Outcome(foreign));
    bench.give(first.clone());
    bench.nothing(&first);
}

#[test]
fn large_values_are_kept_as_blobs_and_asked_for_when_they_are_not_at_hand() {
    let source = r#"
flow: large
nodes:
  - { id: a, set: { text: "{{ 'x' * 70000 }}" } }
  - { id: b, tool: sim.pure, with: {} }
  - { id: c, set: { length: "{{ vars.text | length }}" } }
output: $vars.length
"#;
    let mut bench = Bench::new(source, json!({}));
    let held = std::mem::take(&mut *bench.blobs.0.lock().unwrap());
    assert_eq!(held.len(), 1);
    let input = bench.outcome("b", succeeded(json!(null)));
    let before = bench.run.hash;
    let aura_graph::Decision::Need(needs) = bench.decide(&input) else { panic!("no need") };
    assert_eq!(needs, held.keys().copied().collect::<Vec<_>>());
    assert_eq!(bench.run.hash, before, "a need changes nothing");
    *bench.blobs.0.lock().unwrap() = held;
    bench.give(input);
    assert!(bench.history().ends_with("run.completed 70000\n--\n"));
}

#[test]
fn another_input_does_not_make_a_long_turn_forget_its_rest() {
    let source = r"
flow: both
nodes:
  - id: p
    parallel:
      branches:
        a: [{ id: t, tool: sim.pure, with: {} }]
        l: [{ id: l, loop: { times: 600, do: [{ id: s, set: { n: $loop.index } }] } }]
output: $vars.n
";
    let mut bench = Bench::new(source, json!({}));
    assert!(bench.run.more);
    bench.succeed("p[a]/t", json!(null));
    while bench.run.more {
        bench.give(Input::Continue);
    }
    assert!(bench.history().ends_with("run.completed 599\n--\n"), "{:?}", bench.run.status());
}

#[test]
fn a_large_value_has_one_form_in_memory_and_in_the_store() {
    let source = r#"
flow: one
nodes:
  - { id: a, set: { big: { text: "{{ 'x' * 70000 }}", n: "{{ 2 / 2 }}" } } }
  - { id: b, set: { n: $vars.big.n } }
output: $vars.n
"#;
    let bench = Bench::new(source, json!({}));
    assert!(bench.history().ends_with("run.completed 1\n--\n"), "{}", bench.history());
}

#[test]
fn only_a_question_about_it_forgives_a_missing_name() {
    let flow = |expression: &str| {
        let source = format!(
            "flow: ask\nnodes: [{{ id: a, set: {{ x: \"{{{{ {expression} }}}}\" }} }}]\noutput: $vars.x\n"
        );
        let bench = Bench::new(&source, json!({}));
        bench.history().lines().rev().nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(flow("[input.typo, 1.5 | round(1)]"), "run.failed INVALID_INPUT");
    assert_eq!(flow("input.typo | default(3)"), "run.completed 3");
    assert_eq!(flow("input.typo|d(3)"), "run.completed 3");
    assert_eq!(flow("input.typo is defined"), "run.completed false");
}

#[test]
fn a_list_that_is_only_a_rule_is_refused_before_it_takes_memory() {
    let source = "flow: huge\nnodes: [{ id: a, set: { x: \"{{ [1] * 100000000 }}\" } }]\n";
    let bench = Bench::new(source, json!({}));
    assert!(bench.history().ends_with("run.failed INVALID_INPUT\n--\n"), "{}", bench.history());
}
