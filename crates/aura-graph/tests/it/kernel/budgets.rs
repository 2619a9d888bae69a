//! Budgets: what is reserved and settled, and what follows where a limit would be passed.

use aura_core::budget::{Amounts, Budget, Limits, Resource};
use aura_core::error::Code;
use aura_core::event::{Doubt, Settlement};
use aura_core::hash::Hash;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::ports::RunStatus;
use aura_core::{StepPath, limits};
use aura_testkit::world::start_of;
use serde_json::json;

use super::bench::{Bench, certain, doubtful};

/// What the run used.
fn spent(bench: &Bench) -> Amounts {
    bench.run.budgets.run.spent
}

/// What the run has reserved.
fn reserved(bench: &Bench) -> Amounts {
    bench.run.budgets.run.reserved
}

fn usd(usd_micros: u64) -> Amounts {
    Amounts { usd_micros, ..Amounts::default() }
}

fn said(step: &str, verdict: ApprovalVerdict) -> Input {
    Input::Approval {
        step: step.into(),
        verdict,
        action: None,
        actor: "ada".to_owned(),
        reason: Some("because".to_owned()),
    }
}

/// Two calls that cost something, one after the other.
const PAYS: &str = r#"
flow: pays
budget: { usd: 0.50, tool_calls: 10 }
nodes:
  - id: a
    tool: sim.irreversible
    with: { n: 1 }
    cost: { usd: 0.30, tokens: "{{ 400 + 100 }}", actual: { usd: "{{ output.bill }}", tokens: 20 } }
  - { id: b, tool: sim.irreversible, with: { n: 2 }, cost: { usd: 0.30, tokens: 9, actual: { tokens: 8 } } }
"#;

#[test]
fn what_was_not_used_is_free_again() {
    let mut bench = Bench::new(PAYS, json!({}));
    assert_eq!(
        reserved(&bench),
        Amounts { usd_micros: 300_000, tokens: 500, ..Amounts::default() }
    );
    bench.succeed("a", json!({ "bill": 0.05 }));
    assert_eq!(spent(&bench), Amounts { usd_micros: 50_000, tokens: 20, steps: 2, tool_calls: 2 });
    assert_eq!(reserved(&bench), Amounts { usd_micros: 300_000, tokens: 9, ..Amounts::default() });
    bench.succeed("b", json!(null));
    let both = (spent(&bench).usd_micros, spent(&bench).tokens);
    assert_eq!(both, (350_000, 28), "what no bill tells is what was reserved");
    assert_eq!(bench.run.status(), RunStatus::Completed);
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn what_would_pass_a_limit_is_refused_before_it_is_called() {
    let mut bench = Bench::new(PAYS, json!({}));
    // A bill that can't be read is taken to be as much as was reserved.
    bench.succeed("a", json!({ "bill": "a lot" }));
    assert_eq!(bench.run.status(), RunStatus::Failed);
    let (failure, step) = bench.run.failure().unwrap();
    assert_eq!((failure.code, step.unwrap().as_str()), (Code::BudgetExceeded, "b"));
    let said = "the budget of the run for usd is $0.50: $0.30 used, $0.30 more asked for";
    assert_eq!(failure.message, said);
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn a_bill_above_what_was_reserved_is_recorded() {
    let mut bench = Bench::new(PAYS, json!({}));
    bench.succeed("a", json!({ "bill": 0.8 }));
    assert_eq!(spent(&bench).usd_micros, 800_000);
    assert_eq!(bench.run.failure().unwrap().0.code, Code::BudgetExceeded);
}

/// Branches that start together.
const RACE: &str = r"
flow: race
budget: { usd: 0.50 }
nodes:
  - id: sides
    parallel:
      branches:
        left: [{ id: pay, tool: sim.irreversible, with: { n: 1 }, cost: { usd: 0.30 } }]
        right: [{ id: pay, tool: sim.irreversible, with: { n: 2 }, cost: { usd: 0.30 } }]
";

#[test]
fn two_branches_that_race_for_a_budget_do_not_both_have_it() {
    let mut bench = Bench::new(RACE, json!({}));
    assert_eq!(reserved(&bench), usd(300_000));
    assert!(bench.run.tasks.contains_key(&"sides[left]/pay".into()));
    assert!(!bench.run.tasks.contains_key(&"sides[right]/pay".into()));
    bench.succeed("sides[left]/pay", json!(null));
    assert_eq!(bench.run.failure().unwrap().0.code, Code::BudgetExceeded);
    assert_eq!(spent(&bench).usd_micros, 300_000);
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn two_branches_that_wait_for_slots_race_when_they_get_them() {
    let mut bench = Bench::with_slots(RACE, json!({}), 0);
    assert_eq!(reserved(&bench), Amounts::default(), "nothing is reserved before an intent");
    bench.slots = 2;
    let steps = vec!["sides[left]/pay".into(), "sides[right]/pay".into()];
    bench.give(Input::Granted { steps });
    assert_eq!(reserved(&bench), usd(300_000));
    // A turn of which a refusal is the only trace of its input.
    let mut late = Bench::with_slots(RACE, json!({}), 0);
    late.slots = 2;
    late.give(Input::Granted { steps: vec!["sides[left]/pay".into()] });
    late.give(Input::Granted { steps: vec!["sides[right]/pay".into()] });
    late.succeed("sides[left]/pay", json!(null));
    assert_eq!(late.run.failure().unwrap().0.code, Code::BudgetExceeded);
    bench.replays();
    late.replays();
}

#[test]
fn each_try_counts_and_only_one_that_may_have_acted_costs() {
    let flow = "
flow: again
budget: { tool_calls: 3 }
nodes:
  - id: look
    tool: sim.read
    with: {}
    cost: { tokens: 7 }
    retry: { max_attempts: 9 }
";
    let mut bench = Bench::new(flow, json!({}));
    bench.fail("look", certain(Code::RateLimit));
    assert_eq!((spent(&bench).tokens, spent(&bench).tool_calls), (0, 1));
    bench.fire();
    bench.fail("look", doubtful(Code::NetworkError));
    assert_eq!((spent(&bench).tokens, spent(&bench).tool_calls), (7, 2));
    bench.fire();
    bench.give(Input::Unknown { steps: bench.run.outstanding(), doubt: Doubt::Crash });
    assert_eq!(bench.run.failure().unwrap().0.code, Code::BudgetExceeded);
    assert_eq!((spent(&bench).tokens, spent(&bench).tool_calls), (14, 3));
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn a_call_in_doubt_keeps_what_it_reserved_until_somebody_says() {
    let mut bench = Bench::new(PAYS, json!({}));
    bench.fail("a", doubtful(Code::NetworkError));
    assert_eq!(reserved(&bench).usd_micros, 300_000);
    let key = bench.run.tasks[&StepPath::from("a")].spec.key;
    let settle = |outcome| Input::Settle { key, outcome, actor: "me".to_owned(), reason: None };
    let mut failed = bench.clone_of();
    failed.give(settle(Settlement::Failed(certain(Code::NotFound))));
    assert_eq!((reserved(&failed), spent(&failed).usd_micros), (Amounts::default(), 0));
    bench.give(settle(Settlement::Succeeded(json!({ "bill": 0.01 }).into())));
    assert_eq!((reserved(&bench).usd_micros, spent(&bench).usd_micros), (300_000, 10_000));
    bench.replays();
    failed.replays();
}

#[test]
fn what_is_given_up_in_doubt_costs_all_that_it_reserved() {
    let flow = "
flow: given_up
budget: { usd: 1 }
nodes:
  - { id: a, tool: sim.irreversible, with: {}, cost: { usd: 0.30 }, on_unknown: fail, on_error: continue }
  - id: sides
    parallel:
      branches:
        left: [{ id: stop, tool: sim.irreversible, with: {} }]
        right: [{ id: look, tool: sim.read, with: {}, cost: { usd: 0.10 } }]
";
    let mut bench = Bench::new(flow, json!({}));
    bench.fail("a", doubtful(Code::NetworkError));
    assert_eq!(spent(&bench).usd_micros, 300_000);
    bench.fail("sides[left]/stop", certain(Code::NotFound));
    // Nobody waits for what only looks; it may have been paid for all the same.
    assert_eq!((spent(&bench).usd_micros, reserved(&bench)), (400_000, Amounts::default()));
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn a_node_leads_elsewhere_where_a_budget_refuses_it() {
    let flow = r"
flow: degrades
budget: { usd: 0.50 }
nodes:
  - { id: good, tool: sim.irreversible, with: {}, cost: { usd: 0.60 }, on_error: fail, on_budget: cheap }
  - { id: cheap, tool: sim.irreversible, with: { c: 1 }, cost: { usd: 0.10 } }
  - id: many
    after: [cheap]
    budget: { tool_calls: 1 }
    on_budget: enough
    map: { items: [1, 2, 3], do: [{ id: one, tool: sim.irreversible, with: { n: $item } }] }
  - { id: enough, set: { enough: true } }
";
    let mut bench = Bench::new(flow, json!({}));
    assert_eq!(reserved(&bench), usd(100_000));
    bench.succeed("cheap", json!(null));
    bench.succeed("many[0]/one", json!(null));
    assert_eq!(bench.run.status(), RunStatus::Completed);
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

/// A loop that asks when it may call no more.
const ASKS: &str = r"
flow: asks
budget: { tool_calls: 2, duration: 1h, on_exceeded: ask }
nodes:
  - id: again
    loop: { times: 5, do: [{ id: call, tool: sim.irreversible, with: { n: $loop.index } }] }
";

#[test]
fn a_person_who_is_asked_grants_more() {
    let mut bench = Bench::new(ASKS, json!({}));
    bench.succeed("again[0]/call", json!(null));
    bench.succeed("again[1]/call", json!(null));
    let asked = &bench.run.approvals[&StepPath::root()].request;
    let said_so =
        "The budget of the run for tool_calls is 2: 2 used, 1 more asked for. May it be 4?";
    assert_eq!(asked.message, said_so);
    assert_eq!(bench.run.status(), RunStatus::Waiting);
    assert!(bench.run.idle(), "nothing happens before somebody answers");
    assert_eq!(bench.run.ready().count(), 0);
    // The step that waits has started; what it would call waits with it.
    bench.nothing(&Input::Granted { steps: vec!["again[2]/call".into()] });
    bench.now = bench.now.plus(7_200_000);
    bench.give(said("", ApprovalVerdict::Granted));
    bench.succeed("again[2]/call", json!(null));
    bench.succeed("again[3]/call", json!(null));
    let mut denied = bench.clone_of();
    bench.give(said("", ApprovalVerdict::Granted));
    bench.succeed("again[4]/call", json!(null));
    assert_eq!(bench.run.status(), RunStatus::Completed, "waiting for an answer took no time");
    insta::assert_snapshot!(bench.history());
    bench.replays();
    denied.give(said("", ApprovalVerdict::Denied));
    assert_eq!(denied.run.status(), RunStatus::Failed);
    let message = &denied.run.failure().unwrap().0.message;
    assert!(message.ends_with("4 used, 1 more asked for; ada said no to more"), "{message}");
    denied.replays();
}

#[test]
fn one_question_is_asked_for_all_that_wait_and_a_no_lets_what_fits_go_on() {
    let flow = r"
flow: many
budget: { usd: 1.00, on_exceeded: ask }
nodes:
  - id: items
    map:
      items: [0.6, 0.6, 0.3, 0.6]
      on_item_error: collect
      do: [{ id: pay, tool: sim.irreversible, with: { n: $index }, cost: { usd: $item } }]
";
    let mut bench = Bench::new(flow, json!({}));
    assert_eq!(bench.run.approvals.size(), 1);
    assert_eq!(bench.run.tasks.size(), 2, "nothing new starts while it is asked");
    bench.give(said("", ApprovalVerdict::Denied));
    assert_eq!(reserved(&bench), usd(900_000));
    bench.succeed("items[0]/pay", json!(null));
    bench.succeed("items[2]/pay", json!(null));
    assert_eq!(bench.run.status(), RunStatus::Completed);
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn a_step_has_a_budget_of_its_own_within_that_of_the_run() {
    let flow = r"
flow: nested
budget: { usd: 1.00, steps: 20 }
nodes:
  - id: rounds
    loop:
      times: 3
      do:
        - id: round
          budget: { usd: 0.50, tool_calls: 2 }
          on_error: continue
          map:
            items: [1, 2, 3]
            concurrency: 1
            do: [{ id: pay, tool: sim.irreversible, with: { n: $item }, cost: { usd: 0.20 } }]
";
    let mut bench = Bench::new(flow, json!({}));
    let round = |n: u32| StepPath::from(&*format!("rounds[{n}]/round"));
    for n in 0..2 {
        bench.succeed(&format!("rounds[{n}]/round[0]/pay"), json!(null));
        let pool = bench.run.budgets.of(&round(n)).unwrap();
        assert_eq!((pool.spent.usd_micros, pool.reserved), (200_000, usd(200_000)));
        bench.succeed(&format!("rounds[{n}]/round[1]/pay"), json!(null));
        assert_eq!(bench.run.budgets.of(&round(n)), None, "its step has ended");
    }
    bench.succeed("rounds[2]/round[0]/pay", json!(null));
    // Here it is the run's own budget that refuses.
    assert_eq!(spent(&bench).usd_micros, 1_000_000);
    assert_eq!(bench.run.status(), RunStatus::Completed);
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn a_run_without_steps_left_goes_on_nowhere() {
    let flow = r"
flow: steps
budget: { steps: 3 }
nodes:
  - { id: a, set: { n: 1 } }
  - { id: b, set: { n: 2 }, when: false }
  - { id: c, set: { n: 3 } }
  - { id: d, tool: sim.irreversible, with: {}, on_error: continue }
  - { id: e, tool: sim.irreversible, with: {}, on_error: continue, on_budget: f }
  - { id: f, set: { n: 4 } }
";
    let mut bench = Bench::new(flow, json!({}));
    bench.succeed("d", json!(null));
    assert_eq!(bench.run.failure().unwrap().0.code, Code::BudgetExceeded);
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

/// A run and a step that have so much time.
const TIME: &str = r"
flow: time
budget: { duration: 1h }
nodes:
  - id: sides
    budget: { duration: 10m }
    on_budget: late
    parallel:
      branches:
        acts: [{ id: act, tool: sim.irreversible, with: {}, timeout: 2h, compensate: { tool: sim.idempotent, with: { undo: 1 } } }]
        waits: [{ id: wait, wait: { signal: go } }]
  - { id: late, tool: sim.irreversible, with: {}, timeout: 2h }
";

#[test]
fn when_the_time_of_a_budget_is_over_what_is_within_it_stops() {
    let mut bench = Bench::new(TIME, json!({}));
    bench.fire();
    // What may have acted is awaited.
    assert!(bench.run.tasks.contains_key(&"sides[acts]/act".into()));
    bench.succeed("sides[acts]/act", json!(null));
    assert!(bench.run.tasks.contains_key(&"late".into()));
    bench.fire();
    bench.succeed("late", json!(null));
    assert_eq!(bench.run.status(), RunStatus::Compensating);
    bench.succeed("sides[acts]/act/compensate", json!(null));
    let (failure, _) = bench.run.failure().unwrap();
    assert_eq!(failure.message, "the run has taken the 1 h 00 m that its budget gives it");
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn a_person_grants_more_time() {
    let flow = TIME.replace("duration: 1h", "duration: 1h, on_exceeded: ask").replace("10m", "3h");
    let mut bench = Bench::new(&flow, json!({}));
    bench.fire();
    assert_eq!(bench.run.timers.due(&StepPath::root(), aura_core::event::Purpose::Budget), None);
    bench.now = bench.now.plus(1_800_000);
    let mut denied = bench.clone_of();
    bench.give(said("", ApprovalVerdict::Granted));
    let due = bench.run.timers.due(&StepPath::root(), aura_core::event::Purpose::Budget).unwrap();
    assert_eq!(due, bench.now.plus(3_600_000), "an hour from the answer on");
    bench.succeed("sides[acts]/act", json!(null));
    insta::assert_snapshot!(bench.history());
    denied.give(said("", ApprovalVerdict::Denied));
    denied.succeed("sides[acts]/act", json!(null));
    assert_eq!(denied.run.status(), RunStatus::Compensating);
    bench.replays();
    denied.replays();
}

#[test]
fn no_budget_stops_what_undoes() {
    let flow = r"
flow: undoes
budget: { tool_calls: 2, steps: 2, usd: 0.10, duration: 1h }
nodes:
  - id: a
    tool: sim.irreversible
    with: { n: 1 }
    cost: { usd: 0.10 }
    compensate: { tool: sim.idempotent, with: { undo: 1 } }
  - { id: b, tool: sim.irreversible, with: { n: 2 } }
";
    let mut bench = Bench::new(flow, json!({}));
    bench.succeed("a", json!(null));
    bench.fail("b", certain(Code::NotFound));
    assert_eq!(bench.run.status(), RunStatus::Compensating);
    bench.fail("a/compensate", certain(Code::RateLimit));
    bench.now = bench.now.plus(7_200_000);
    bench.fire();
    bench.succeed("a/compensate", json!(null));
    assert_eq!(bench.run.status(), RunStatus::Compensated);
    assert_eq!(spent(&bench).tool_calls, 4, "its calls are counted all the same");
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn a_question_that_is_open_does_not_outlive_its_run() {
    let mut bench = Bench::new(ASKS, json!({}));
    bench.succeed("again[0]/call", json!(null));
    bench.succeed("again[1]/call", json!(null));
    bench.give(Input::Cancel { actor: "me".to_owned(), reason: None });
    assert_eq!(bench.run.status(), RunStatus::Cancelled);
    assert!(bench.run.approvals.is_empty());
    assert_eq!(bench.refused(&said("", ApprovalVerdict::Granted)).code, Code::RunClosed);
}

#[test]
fn an_answer_to_a_paused_run_counts_when_it_goes_on() {
    let request = || ("me".to_owned(), None);
    let mut bench = Bench::new(ASKS, json!({}));
    bench.succeed("again[0]/call", json!(null));
    bench.succeed("again[1]/call", json!(null));
    let (actor, reason) = request();
    bench.give(Input::Pause { actor, reason });
    bench.give(said("", ApprovalVerdict::Granted));
    assert!(bench.run.idle());
    let (actor, reason) = request();
    bench.give(Input::Resume { actor, reason });
    bench.succeed("again[2]/call", json!(null));
    insta::assert_snapshot!(bench.history());
    bench.replays();
}

#[test]
fn who_starts_a_run_tightens_its_budget_and_is_not_asked_for_more() {
    let start = start_of(1, ASKS, json!({}), Hash::ZERO);
    let mut started = start.started;
    let limits = Limits { tool_calls: Some(1), steps: Some(50), ..Limits::default() };
    started.budget = Some(Budget { limits, ask: false });
    let mut bench = Bench::started(start.flows.main, started, usize::MAX);
    let pool = &bench.run.budgets.run;
    let own = pool.limits;
    assert_eq!((own.tool_calls, own.steps, own.duration_ms), (Some(1), Some(50), Some(3_600_000)));
    assert_eq!(pool.left(Resource::Steps, bench.now), Some(48));
    bench.succeed("again[0]/call", json!(null));
    assert_eq!(bench.run.failure().unwrap().0.code, Code::BudgetExceeded);
    bench.replays();
}

#[test]
fn a_cost_that_is_none_fails_its_step() {
    let flow = "
flow: broken
nodes:
  - { id: a, tool: sim.read, with: {}, cost: { usd: $input.price } }
";
    let worst = (limits::BUDGET_AMOUNT + 1).to_string();
    for price in [json!(-1), json!(null), json!("much"), json!(worst)] {
        let bench = Bench::new(flow, json!({ "price": price }));
        let (failure, _) = bench.run.failure().unwrap();
        assert_eq!(failure.code, Code::InvalidInput, "{price}");
        assert!(failure.message.contains("a number of dollars"), "{}", failure.message);
    }
    let bench = Bench::new(flow, json!({ "price": "0.0000001" }));
    assert_eq!(reserved(&bench), usd(1), "what is finer than a millionth is rounded up");
}
