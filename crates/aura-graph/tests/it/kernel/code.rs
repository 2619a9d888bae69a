//! Functions: what they ask for is recorded and answered once, and a call of a tool is a step like any other.

use aura_core::Data;
use aura_core::error::Code;
use aura_core::event::{Doubt, Settlement};
use aura_core::input::Input;
use aura_core::journal::Asked;
use aura_core::limits;
use aura_core::ports::RunStatus;
use serde_json::{Value, json};

use super::bench::{Bench, certain, doubtful};

const FLOW: &str = r#"
flow: code
vars: { total: 1, name: x }
nodes:
  - id: f
    code: calc
    with: { a: $input.a }
    tools: [sim.pure, sim.read, sim.idempotent, sim.irreversible]
    timeout: 30s
    deadline: 1h
    on_error: caught
    next: [{ when: "{{ vars.total == 5 }}", to: five }, { when: "{{ false }}", to: never }]
  - { id: after, set: { name: after } }
  - { id: five, set: { name: five } }
  - { id: never, set: { name: never } }
  - { id: caught, set: { name: "{{ steps.f.error.code }}" } }
output: { name: $vars.name, total: $vars.total, f: $steps.f.output }
"#;

fn start() -> Bench {
    Bench::new(FLOW, json!({ "a": 17 }))
}

fn ask(number: u64, asked: Asked) -> Input {
    let call = asked.hash();
    Input::Journal { step: "f".into(), number, asked, call }
}

fn tool(number: u64, tool: &str, args: Value) -> Input {
    ask(number, Asked::Tool { tool: tool.to_owned(), args: Data::from(args) })
}

fn answer(bench: &Bench, number: u64) -> Result<Value, Code> {
    let bodies = bench.run.node(&"f".into()).unwrap().bodies().unwrap();
    let answer = bodies.recorded(number).unwrap().answer.expect("an answer");
    answer.map(|data| Value::clone(data.as_json().unwrap())).map_err(|failure| failure.code)
}

fn open(bench: &Bench) -> bool {
    bench.run.node(&"f".into()).unwrap().bodies().unwrap().call_open()
}

#[expect(clippy::needless_pass_by_value, reason = "values are made where they are given")]
fn returns(bench: &mut Bench, output: Value, vars: Value, next: Value) {
    bench.succeed("f", json!({ "output": output, "vars": vars, "next": next }));
}

#[test]
fn a_function_is_given_the_variables_and_its_parameters() {
    let bench = start();
    let spec = &bench.run.tasks.get(&"f".into()).unwrap().spec;
    let args = json!({ "state": { "total": 1, "name": "x" }, "input": { "a": 17 } });
    assert_eq!(spec.args.as_json(), Some(&args));
    assert_eq!((spec.tool.as_str(), spec.retry.max_attempts), ("calc", 1));
}

#[test]
fn what_it_asks_for_is_recorded_in_order() {
    let mut bench = start();
    bench.give(ask(1, Asked::Now));
    bench.give(ask(2, Asked::Random));
    bench.give(ask(3, Asked::Uuid));
    bench.give(tool(4, "sim.irreversible", json!({ "n": 1 })));
    bench.succeed("f[4]/call", json!({ "sent": true }));
    bench.give(ask(5, Asked::Sleep { ms: 5_000 }));
    assert!(open(&bench));
    bench.fire();
    assert_eq!(answer(&bench, 1), Ok(json!(super::bench::START.0)));
    let random = answer(&bench, 2).unwrap().as_f64().unwrap();
    assert!((0.0..1.0).contains(&random), "{random}");
    assert_eq!(answer(&bench, 3).unwrap().as_str().unwrap().len(), 36);
    assert_eq!(answer(&bench, 4), Ok(json!({ "sent": true })));
    assert_eq!(answer(&bench, 5), Ok(Value::Null));
    returns(&mut bench, json!({ "ok": 1 }), json!({ "total": 4 }), Value::Null);
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_call_is_taken_once_and_in_its_turn() {
    let mut bench = start();
    bench.nothing(&ask(2, Asked::Now));
    bench.give(ask(1, Asked::Now));
    bench.nothing(&ask(1, Asked::Now));
    bench.nothing(&ask(1, Asked::Random));
    bench.give(tool(2, "sim.read", json!({})));
    // It waits: it can neither ask for more nor end.
    bench.nothing(&ask(3, Asked::Now));
    let early = bench.outcome("f", super::bench::succeeded(json!({ "output": 1 })));
    bench.nothing(&early);
    bench.succeed("f[2]/call", json!(7));
    bench.give(ask(3, Asked::Now));
    let mut elsewhere = tool(1, "sim.read", json!({}));
    if let Input::Journal { step, .. } = &mut elsewhere {
        *step = "after".into();
    }
    bench.nothing(&elsewhere);
}

#[test]
fn the_failure_of_a_call_is_an_answer() {
    let mut bench = start();
    bench.give(tool(1, "sim.irreversible", json!({})));
    bench.fail("f[1]/call", certain(Code::Conflict));
    assert_eq!(answer(&bench, 1), Err(Code::Conflict));
    bench.give(tool(2, "http.request", json!({})));
    assert_eq!(answer(&bench, 2), Err(Code::Forbidden));
    returns(&mut bench, json!("went on"), json!({}), Value::Null);
    assert_eq!(bench.run.status(), RunStatus::Completed);
}

#[test]
fn a_call_in_doubt_is_settled_by_its_class() {
    for (class, parks) in [("read", false), ("idempotent", false), ("irreversible", true)] {
        let mut bench = start();
        bench.give(tool(1, &format!("sim.{class}"), json!({ "n": 1 })));
        let key = bench.run.tasks.get(&"f[1]/call".into()).unwrap().spec.key;
        let steps = bench.run.outstanding();
        assert_eq!(steps.len(), 2, "the function and its call");
        bench.give(Input::Unknown { steps, doubt: Doubt::Crash });
        let task = bench.run.tasks.get(&"f[1]/call".into()).unwrap();
        assert_eq!((task.spec.key, task.attempt), (key, 1), "{class}");
        assert_eq!(bench.run.in_doubt().count(), usize::from(parks), "{class}");
        if parks {
            assert_eq!(bench.run.status(), RunStatus::InDoubt);
            let outcome = Settlement::Succeeded(Data::from(json!("it was done")));
            let (actor, reason) = ("me".to_owned(), None);
            bench.give(Input::Settle { key, outcome, actor, reason });
            assert_eq!(answer(&bench, 1), Ok(json!("it was done")));
        } else {
            bench.succeed("f[1]/call", json!("once"));
            assert_eq!(answer(&bench, 1), Ok(json!("once")), "{class}");
        }
        returns(&mut bench, Value::Null, json!({}), Value::Null);
        assert_eq!(bench.run.status(), RunStatus::Completed, "{class}");
    }
}

#[test]
fn its_time_stands_still_while_it_waits() {
    let mut bench = start();
    bench.give(ask(1, Asked::Sleep { ms: 600_000 }));
    assert_eq!(bench.run.status(), RunStatus::Waiting);
    bench.fire();
    assert_eq!(answer(&bench, 1), Ok(Value::Null));
    // Now its own 30 s run, and it does nothing with them.
    bench.fire();
    assert_eq!(bench.run.root.nodes.get("f").unwrap().error.as_ref().unwrap().code, Code::Timeout);
}

#[test]
fn a_function_that_kills_its_process_parks_and_one_that_waits_does_not() {
    let crash = |bench: &mut Bench| {
        bench.give(Input::Unknown { steps: bench.run.outstanding(), doubt: Doubt::Crash });
    };
    let mut kills = start();
    for _ in 0..limits::TASK_RECOVERIES {
        crash(&mut kills);
    }
    assert_eq!(kills.run.status(), RunStatus::InDoubt);
    let mut waits = start();
    waits.give(ask(1, Asked::Sleep { ms: 60_000 }));
    for _ in 0..2 * limits::TASK_RECOVERIES {
        crash(&mut waits);
    }
    waits.fire();
    returns(&mut waits, Value::Null, json!({}), Value::Null);
    assert_eq!(waits.run.status(), RunStatus::Completed);
}

#[test]
fn what_it_gives_back_is_checked() {
    let mut routed = start();
    returns(&mut routed, json!(1), json!({ "name": "f" }), json!("never"));
    assert!(routed.history().contains("step.completed f next never"), "{}", routed.history());
    let mut by_routes = start();
    returns(&mut by_routes, json!(1), json!({ "total": 5 }), Value::Null);
    assert!(by_routes.history().contains("step.completed f next five"), "{}", by_routes.history());
    for (report, code) in [
        (json!({ "output": 1, "vars": { "unknown": 1 }, "next": null }), Code::InvalidInput),
        (json!({ "output": 1, "vars": {}, "next": "after" }), Code::InvalidInput),
        (json!({ "truncated": true, "bytes": 1 }), Code::LimitExceeded),
    ] {
        let mut bench = start();
        bench.succeed("f", report);
        let node = bench.run.root.nodes.get("f").unwrap();
        assert_eq!(node.error.as_ref().unwrap().code, code);
        assert_eq!(bench.run.status(), RunStatus::Completed, "the handler ran");
    }
}

#[test]
fn an_effect_under_way_is_awaited_past_the_deadline() {
    let mut bench = start();
    bench.give(tool(1, "sim.irreversible", json!({})));
    bench.fail("f[1]/call", doubtful(Code::NetworkError));
    assert_eq!(bench.run.status(), RunStatus::InDoubt);
    bench.fire();
    // The deadline has passed, but what the call did is not known yet.
    assert!(!bench.run.closed());
    bench.nothing(&ask(2, Asked::Now));
    let (_, task) = bench.run.in_doubt().next().unwrap();
    let (outcome, actor) = (Settlement::Succeeded(Data::null()), "me".to_owned());
    bench.give(Input::Settle { key: task.spec.key, outcome, actor, reason: None });
    assert_eq!(bench.run.root.nodes.get("f").unwrap().error.as_ref().unwrap().code, Code::Deadline);
    assert_eq!(bench.run.status(), RunStatus::Completed, "the handler ran");
}

#[test]
fn a_cancelled_function_ends_and_asks_for_nothing_more() {
    let mut bench = start();
    bench.give(tool(1, "sim.idempotent", json!({})));
    bench.give(Input::Cancel { actor: "me".to_owned(), reason: None });
    assert_eq!(bench.run.status(), RunStatus::Cancelling);
    bench.succeed("f[1]/call", json!(1));
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
    bench.nothing(&ask(2, Asked::Now));
}

#[test]
fn a_function_that_goes_another_way_fails_and_an_open_effect_is_awaited() {
    let mut sleeps = start();
    sleeps.give(ask(1, Asked::Sleep { ms: 60_000 }));
    sleeps.fail("f", certain(Code::NonDeterminism));
    assert_eq!(sleeps.run.status(), RunStatus::Completed, "the handler ran");
    let mut acts = start();
    acts.give(tool(1, "sim.irreversible", json!({})));
    acts.fail("f", certain(Code::NonDeterminism));
    assert!(!acts.run.closed());
    acts.nothing(&ask(2, Asked::Now));
    acts.succeed("f[1]/call", json!(1));
    let error = acts.run.root.nodes.get("f").unwrap().error.clone().unwrap();
    assert_eq!(error.code, Code::NonDeterminism);
    assert_eq!(acts.run.status(), RunStatus::Completed, "the handler ran");
}
