//! What children use counts for their parent: what is set aside for them, who waits, and what is settled.

use std::sync::Arc;

use aura_core::budget::{Amounts, Budget, Limits};
use aura_core::child::{ChildAccount, ChildEnd};
use aura_core::data::Data;
use aura_core::error::{Code, Failure};
use aura_core::event::RunStarted;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::{ApprovalVerdict, Input};
use aura_core::ports::RunStatus;
use aura_graph::state::Phase;
use aura_testkit::world::start_family;
use serde_json::json;

use super::bench::{Bench, certain};

/// Two calls that cost something.
const PAYS: &str = r"
flow: pays
nodes:
  - { id: a, tool: sim.irreversible, with: {}, cost: { usd: 3, tokens: 30, actual: { usd: 2 } } }
  - { id: b, tool: sim.irreversible, with: {}, cost: { usd: 3, tokens: 30 } }
";

/// The same, within limits of its own.
const THRIFTY: &str = r"
flow: thrifty
budget: { usd: 4, tokens: 40, steps: 3, tool_calls: 2 }
nodes: [{ id: a, tool: sim.irreversible, with: {}, cost: { usd: 3, tokens: 30 } }]
";

const FILES: &[(&str, &str)] = &[("pays.yaml", PAYS), ("thrifty.yaml", THRIFTY)];

fn bench(source: &str) -> Bench {
    Bench::with_files(source, FILES, json!({}), usize::MAX)
}

/// The child that the last turn started, with its flow.
fn begun(bench: &Bench, source: &str) -> (RunId, Box<RunStarted>, Bench) {
    let starts = bench.messages.iter().find_map(|(run, input)| match input {
        Input::Start(started) => Some((*run, started.clone())),
        _ => None,
    });
    let (run, started) = starts.expect("a child");
    let files = FILES.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    let flows = start_family(1, (source, &files.collect()), json!({}), Hash::ZERO).flows;
    let flow = flows.get(started.flow.file.as_deref()).unwrap();
    let mut child = Bench::started(Arc::clone(flow), RunStarted::clone(&started), usize::MAX);
    child.give(Input::Continue);
    (run, started, child)
}

fn share(started: &RunStarted) -> Limits {
    started.parent.as_ref().unwrap().budget.unwrap().limits
}

fn ended(bench: &Bench, step: &str, end: ChildEnd, used: Amounts) -> Input {
    let step = step.into();
    let run = bench.run.children.get(&step).unwrap_or_else(|| panic!("no child at {step}")).run;
    let account = ChildAccount { used: Some(used), undo: Vec::new() };
    Input::Child { step, run, end, account }
}

fn completed(bench: &Bench, step: &str, used: Amounts) -> Input {
    ended(bench, step, ChildEnd::Completed(Data::null()), used)
}

fn usd(usd: u64) -> Amounts {
    Amounts { usd_micros: usd * 1_000_000, ..Amounts::default() }
}

#[test]
fn a_child_without_limits_may_use_what_is_left_and_the_next_waits_for_it() {
    let source = r"
flow: two
budget: { usd: 10, tokens: 100 }
nodes:
  - id: m
    map: { items: [1, 2], do: [{ id: c, flow: { file: pays.yaml } }] }
";
    let mut bench = bench(source);
    let (_, started, mut child) = begun(&bench, source);
    assert_eq!(bench.run.children.size(), 1, "the second waits");
    assert_eq!(bench.run.status(), RunStatus::Running);
    assert_eq!(
        share(&started),
        Limits { usd_micros: Some(10_000_000), tokens: Some(100), ..Limits::default() }
    );
    child.succeed("a", json!({}));
    child.succeed("b", json!({}));
    let told = child.messages.pop().map(|(_, input)| input);
    let Some(Input::Child { account, .. }) = told else { panic!("{told:?}") };
    let used = account.used.unwrap();
    assert_eq!(used, Amounts { tokens: 60, steps: 2, tool_calls: 2, ..usd(5) });
    bench.give(completed(&bench, "m[0]/c", used));
    let (_, started, mut child) = begun(&bench, source);
    assert_eq!(share(&started).usd_micros, Some(5_000_000));
    assert_eq!(share(&started).tokens, Some(40));
    child.succeed("a", json!({}));
    assert!(matches!(&child.run.phase, Phase::Failed(e, _) if e.code == Code::BudgetExceeded));
    let used = child.run.budgets.run.spent;
    let failed = ChildEnd::Failed(certain(Code::BudgetExceeded));
    bench.give(ended(&bench, "m[1]/c", failed, used));
    assert!(matches!(&bench.run.phase, Phase::Failed(e, _) if e.code == Code::BudgetExceeded));
    let spent = bench.run.budgets.run.spent;
    assert_eq!(spent, Amounts { tokens: 90, steps: 7, tool_calls: 3, ..usd(7) });
    assert!(bench.run.budgets.run.reserved.is_nothing());
    bench.replays();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn children_whose_limits_fit_together_run_side_by_side() {
    let source = r"
flow: side_by_side
budget: { usd: 10, steps: 30 }
nodes:
  - id: p
    parallel:
      branches:
        a: [{ id: own, flow: { file: thrifty.yaml } }]
        b: [{ id: given, budget: { usd: 5, steps: 6, on_exceeded: ask }, flow: { file: pays.yaml } }]
        c: [{ id: third, flow: { file: thrifty.yaml } }]
";
    let mut bench = bench(source);
    let shares: Vec<_> = bench
        .messages
        .iter()
        .filter_map(|(_, input)| match input {
            Input::Start(started) => Some(started.parent.clone()?.budget?),
            _ => None,
        })
        .collect();
    let limits = |usd: u64, steps| Limits {
        usd_micros: Some(usd * 1_000_000),
        steps: Some(steps),
        ..Limits::default()
    };
    assert_eq!(shares[0], Budget { limits: limits(4, 3), ask: false });
    assert_eq!(shares[1], Budget { limits: limits(5, 6), ask: false }, "the run asks nobody");
    assert_eq!(shares.len(), 2, "the third waits: 4 of 1 are left");
    assert_eq!(bench.run.budgets.run.lent, Amounts { steps: 9, ..usd(9) });
    let used = Amounts { steps: 1, ..usd(1) };
    bench.give(completed(&bench, "p[a]/own", used));
    assert!(bench.run.children.contains_key(&"p[c]/third".into()));
    assert_eq!(bench.run.budgets.run.left(aura_core::budget::Resource::Usd, bench.now), Some(0));
    for step in ["p[b]/given", "p[c]/third"] {
        bench.give(completed(&bench, step, used));
    }
    assert_eq!(bench.run.status(), RunStatus::Completed);
    assert_eq!(bench.run.budgets.run.spent, Amounts { steps: 7, ..usd(3) });
    bench.replays();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn what_the_parent_does_waits_where_children_may_use_all_there_is() {
    let mut bench = bench(
        r"
flow: waits
budget: { tool_calls: 3 }
nodes:
  - { id: c, flow: { file: pays.yaml } }
  - { id: t, after: [], tool: sim.read, with: {} }
",
    );
    assert!(bench.run.ready().next().is_none(), "no slot is asked for");
    assert!(bench.run.waits_for_more(&"t".into()));
    bench.nothing(&Input::Granted { steps: vec!["t".into()] });
    bench.give(completed(&bench, "c", Amounts { tool_calls: 2, ..Amounts::default() }));
    bench.succeed("t", json!(1));
    assert_eq!(bench.run.status(), RunStatus::Completed);
    bench.replays();
}

#[test]
fn a_paused_parent_hands_on_what_a_child_left_when_it_is_resumed() {
    let mut bench = bench(
        r"
flow: waits
budget: { steps: 9 }
nodes:
  - { id: a, after: [], flow: { file: pays.yaml } }
  - { id: b, after: [], flow: { file: pays.yaml } }
",
    );
    bench.give(Input::Pause { actor: "me".to_owned(), reason: None });
    bench.give(completed(&bench, "a", Amounts { steps: 2, ..Amounts::default() }));
    assert!(bench.run.children.is_empty());
    bench.give(Input::Resume { actor: "me".to_owned(), reason: None });
    assert!(bench.run.children.contains_key(&"b".into()));
    bench.replays();
}

#[test]
fn a_node_leads_elsewhere_where_its_child_has_too_little() {
    let mut bench = bench(
        r"
flow: elsewhere
budget: { steps: 4 }
nodes:
  - { id: a, on_budget: poor, flow: { file: pays.yaml } }
  - { id: poor, set: { poor: true } }
  - { id: b, after: [poor], on_error: continue, flow: { file: pays.yaml } }
",
    );
    let failed = ChildEnd::Failed(Failure::certain(Code::BudgetExceeded, "too little"));
    bench.give(ended(&bench, "a", failed, Amounts { steps: 1, ..Amounts::default() }));
    // One step is left, which the node itself would use: its child could do nothing.
    assert_eq!(bench.run.status(), RunStatus::Completed);
    bench.replays();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_person_is_asked_at_the_run_that_has_too_little() {
    let source = r"
flow: asks
budget: { usd: 4, steps: 3, on_exceeded: ask }
nodes:
  - { id: a, flow: { file: pays.yaml } }
  - { id: b, flow: { file: thrifty.yaml } }
";
    let mut bench = bench(source);
    let (_, _, mut child) = begun(&bench, source);
    child.succeed("a", json!({}));
    assert_eq!(child.run.status(), RunStatus::Waiting, "it asks for more");
    let yes = Input::Approval {
        step: "".into(),
        verdict: ApprovalVerdict::Granted,
        action: None,
        actor: "ada".to_owned(),
        reason: None,
    };
    child.give(yes.clone());
    child.succeed("b", json!({}));
    assert_eq!(child.run.status(), RunStatus::Completed);
    bench.give(completed(&bench, "a", child.run.budgets.run.spent));
    // What was granted there is used here, and beyond the limit of the parent, who is asked for the next.
    assert_eq!(
        bench.run.budgets.run.spent,
        Amounts { steps: 3, tokens: 60, tool_calls: 2, ..usd(5) }
    );
    assert_eq!(bench.run.approvals.size(), 1);
    bench.give(yes);
    let (_, _, child) = begun(&bench, source);
    assert!(matches!(&child.run.phase, Phase::Failed(e, _) if e.code == Code::BudgetExceeded));
    bench.replays();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn those_that_go_on_in_the_place_of_a_child_share_what_was_set_aside() {
    let source = r"
flow: chain
budget: { usd: 5 }
nodes: [{ id: c, flow: { file: on.yaml } }]
";
    let on = r"
flow: on
nodes:
  - { id: a, tool: sim.irreversible, with: {}, cost: { usd: 3 } }
  - { id: again, continue: {} }
";
    let files = [("on.yaml", on)];
    let mut bench = Bench::with_files(source, &files, json!({}), usize::MAX);
    let flows = start_family(
        1,
        (source, &[("on.yaml".to_owned(), on.to_owned())].into()),
        json!({}),
        Hash::ZERO,
    )
    .flows;
    let [(_, Input::Start(started))] = &bench.messages[..] else { panic!("one child") };
    let flow = Arc::clone(&flows.files["on.yaml"]);
    let mut child = Bench::started(Arc::clone(&flow), RunStarted::clone(started), usize::MAX);
    child.give(Input::Continue);
    child.succeed("a", json!({}));
    let [(next, Input::Start(started)), (_, Input::Child { end, account, .. })] =
        &child.messages[..]
    else {
        panic!("{:?}", child.messages)
    };
    assert_eq!(*end, ChildEnd::Continued(*next));
    let mut second = Bench::started(flow, RunStarted::clone(started), usize::MAX);
    assert_eq!(second.run.budgets.run.limits.usd_micros, Some(2_000_000));
    second.give(Input::Continue);
    assert!(matches!(&second.run.phase, Phase::Failed(e, _) if e.code == Code::BudgetExceeded));
    bench.give(ended(&bench, "c", end.clone(), account.used.unwrap()));
    assert_eq!(bench.run.budgets.run.spent.usd_micros, 3_000_000);
    assert_eq!(bench.run.budgets.run.lent.usd_micros, 2_000_000);
    let failed = ChildEnd::Failed(certain(Code::BudgetExceeded));
    bench.give(ended(&bench, "c", failed, Amounts { steps: 1, ..Amounts::default() }));
    assert_eq!(bench.run.budgets.run.spent.usd_micros, 3_000_000);
    bench.replays();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn a_run_that_began_before_children_counted_goes_on_as_it_was() {
    let source = "flow: old\nbudget: { usd: 10 }\nnodes: [{ id: a, after: [], flow: { file: pays.yaml } }, { id: b, after: [], flow: { file: pays.yaml } }]\n";
    let files = FILES.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    let mut start = start_family(1, (source, &files.collect()), json!({}), Hash::ZERO);
    start.started.flags = Vec::new();
    let bench = Bench::started(start.flows.main, start.started, usize::MAX);
    assert_eq!(bench.run.children.size(), 2);
    let (_, started, child) = begun(&bench, source);
    assert_eq!(started.parent.as_ref().unwrap().budget, None);
    assert_eq!(child.run.budgets.run.limits.usd_micros, Some(10_000_000));
    assert!(bench.run.budgets.lent.is_empty());
    bench.replays();
}

#[test]
fn a_detached_child_has_a_budget_of_its_own() {
    let source = "flow: leaves\nbudget: { usd: 10, steps: 9 }\nnodes: [{ id: a, budget: { usd: 2 }, flow: { file: pays.yaml, detached: true } }]\n";
    let bench = bench(source);
    let (_, started, child) = begun(&bench, source);
    assert_eq!(started.parent.as_ref().unwrap().budget, None);
    let own = child.run.budgets.run.limits;
    assert_eq!((own.usd_micros, own.steps), (Some(2_000_000), Some(9)));
    assert_eq!(bench.run.budgets.run.spent, Amounts { steps: 1, ..Amounts::default() });
}
