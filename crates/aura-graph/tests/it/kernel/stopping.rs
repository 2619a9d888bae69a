//! Ends before the end: failures, deadlines, cancellation.

use aura_core::error::Code;
use aura_core::input::Input;
use aura_core::ports::RunStatus;
use serde_json::json;

use super::bench::{Bench, certain, doubtful};

fn cancel() -> Input {
    Input::Cancel { actor: "me".to_owned(), reason: Some("enough".to_owned()) }
}

const SIDES: &str = r"
flow: sides
nodes:
  - id: p
    parallel:
      branches:
        acts: [{ id: t, tool: sim.irreversible, with: {} }, { id: u, tool: sim.irreversible, with: {} }]
        looks: [{ id: t, tool: sim.read, with: {} }]
        sleeps: [{ id: t, sleep: 1h }]
        thinks: [{ id: t, tool: sim.pure, with: {} }]
";

#[test]
fn cancelling_awaits_what_may_have_acted_and_starts_nothing_new() {
    let mut bench = Bench::new(SIDES, json!({}));
    bench.give(cancel());
    bench.nothing(&cancel());
    assert_eq!(bench.run.status(), RunStatus::Cancelling);
    bench.succeed("p[acts]/t", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn cancelling_a_run_that_only_sleeps_ends_it_at_once() {
    let source = "flow: sleeps\nnodes:\n  - { id: a, sleep: 1h }\n";
    let mut bench = Bench::new(source, json!({}));
    bench.give(cancel());
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
    assert_eq!(bench.refused(&cancel()).code, Code::RunClosed);
}

#[test]
fn a_cancelled_run_waits_for_the_verdict_on_an_effect_in_doubt() {
    let source = "flow: one\nnodes:\n  - { id: a, tool: sim.irreversible, with: {} }\n";
    let mut bench = Bench::new(source, json!({}));
    bench.fail("a", doubtful(Code::NetworkError));
    bench.give(cancel());
    assert_eq!(bench.run.status(), RunStatus::Cancelling);
    let (_, task) = bench.run.in_doubt().next().unwrap();
    let outcome = aura_core::event::Settlement::Retry;
    let key = task.spec.key;
    bench.give(Input::Settle { key, outcome, actor: "me".to_owned(), reason: None });
    assert_eq!(bench.run.status(), RunStatus::Cancelled, "another try would be something new");
}

#[test]
fn a_failing_branch_stops_the_others() {
    let mut bench = Bench::new(SIDES, json!({}));
    bench.fail("p[thinks]/t", certain(Code::NotFound));
    bench.succeed("p[acts]/t", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_failure_can_be_left_behind_or_led_elsewhere() {
    let source = r#"
flow: handled
nodes:
  - { id: a, tool: sim.pure, with: {}, on_error: continue }
  - { id: b, tool: sim.pure, with: {}, on_error: rescue }
  - { id: usual, tool: sim.pure, with: {} }
  - { id: rescue, tool: sim.pure, with: {} }
output: "{{ [steps.a.error.code, steps.a.output, steps.b.error.code, steps.usual.status] }}"
"#;
    let mut bench = Bench::new(source, json!({}));
    bench.fail("a", certain(Code::NotFound));
    bench.fail("b", certain(Code::Conflict));
    bench.succeed("rescue", json!("saved"));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_deadline_ends_a_node_with_all_its_tries() {
    let source = "flow: late\nnodes:\n  - { id: a, tool: sim.read, with: {}, deadline: 1s }\n";
    let mut bench = Bench::new(source, json!({}));
    bench.fail("a", certain(Code::RateLimit));
    bench.fire();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_deadline_of_a_body_awaits_what_may_have_acted() {
    let source = r"
flow: late
nodes:
  - id: m
    deadline: 1s
    on_error: continue
    map:
      items: [1, 2]
      do: [{ id: t, tool: sim.irreversible, with: { n: $item } }]
output: $steps.m.error.code
";
    let mut bench = Bench::new(source, json!({}));
    bench.succeed("m[0]/t", json!(null));
    bench.fire();
    bench.succeed("m[1]/t", json!(null));
    insta::assert_snapshot!(bench.history());
}

#[test]
fn an_effect_past_its_deadline_is_in_doubt() {
    let source =
        "flow: late\nnodes:\n  - { id: a, tool: sim.irreversible, with: {}, deadline: 1s }\n";
    let mut bench = Bench::new(source, json!({}));
    bench.fire();
    insta::assert_snapshot!(bench.history());
    assert_eq!(bench.run.in_doubt().count(), 1);
}

#[test]
fn what_has_ended_leaves_no_timer_however_many_there_are() {
    for items in [1, 40] {
        let source = format!(
            "flow: f\ndeadline: 9h\nnodes:\n  - id: m\n    map: {{ items: \"{{{{ range({items}) | list }}}}\", concurrency: 64, do: [{{ id: t, tool: sim.read, with: {{}}, deadline: 1h, heartbeat: 1m }}] }}\n  - {{ id: last, tool: sim.read, with: {{}} }}\n"
        );
        let mut bench = Bench::new(&source, json!({}));
        assert_eq!(bench.run.timers.iter().count(), 1 + 3 * items, "{items} items");
        for item in 0..items {
            bench.succeed(&format!("m[{item}]/t"), json!(null));
        }
        // That of the run, and that of the last attempt.
        assert_eq!(bench.run.timers.iter().count(), 2, "{items} items");
        bench.succeed("last", json!(null));
        assert_eq!(bench.run.timers.iter().count(), 0, "{items} items");
    }
}
