//! What holds of every history: any prefix folds, every commit is decided again as it was, and what comes back from
//! the store folds to the same state as what was in memory.

use std::sync::Arc;

use aura_core::budget::Amounts;
use aura_core::child::{ChildAccount, ChildEnd};
use aura_core::commit::{Cause, StoredCommit};
use aura_core::error::Code;
use aura_core::event::{Doubt, Event, EventBody, Settlement, Work};
use aura_core::fork::ForkEffects;
use aura_core::fork::Origin;
use aura_core::hash::Hash;
use aura_core::input::{ApprovalVerdict, Heartbeat, Input};
use aura_core::journal::Asked;
use aura_core::saga::{Compensation, Planned};
use aura_core::{Data, RunId, canonical};
use aura_graph::backtest::{Backtest, Changed, Outcomes, Verdict};
use aura_graph::decide::Taken;
use aura_graph::expr::BlobLookup;
use aura_graph::replay::Replay;
use aura_graph::state::{Lack, TaskPhase, fold, fold_commit, from_snapshot, to_snapshot};
use aura_graph::{Decision, Run};
use aura_testkit::seed::Seed;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bench::{Bench, certain, doubtful, succeeded};
use super::forks::{asked, unborn};

/// Everything at once, so that inputs find something to do.
const FLOW: &str = r#"
flow: all
deadline: 20m
budget: { OWN }
signals: { go: { not: { type: boolean } } }
vars: { n: 0, m: 0 }
nodes:
  - { id: first, tool: sim.read, with: { v: $input }, cost: { tokens: 4 }, on_error: continue }
  - { id: same, after: [], tool: sim.irreversible, with: { v: 1 }, on_error: continue, idempotency: { scope: flow } }
  - id: items
    after: [first]
    on_error: continue
    budget: { WITHIN }
    on_budget: poor
    map:
      items: [1, 2, 3]
      concurrency: 2
      on_item_error: collect
      do:
        - id: a
          tool: sim.idempotent
          with: { n: $item, v: $steps.first.output }
          cost: { usd: 0.2, tokens: 10, actual: { usd: "{{ output.bill or 0.1 }}" } }
          deadline: 30s
          heartbeat: 4s
          compensate: { tool: sim.irreversible, with: { n: $item, v: $steps.a.output, i: $input } }
        - id: b
          tool: sim.irreversible
          with: { n: $index }
          cost: { usd: 0.1, tokens: 10 }
          effect: reconcilable
          probe:
            tool: sim.look
            with: { key: $effect.key }
            done: "{{ probe.output is string }}"
            not_done: "{{ probe.output is number or probe.error.code == 'NOT_FOUND' }}"
            output: { v: $probe.output, first: $steps.a.output }
  - id: sides
    after: []
    on_error: leave
    budget: { steps: 7, tool_calls: 4, on_exceeded: ask }
    parallel:
      branches:
        left: [{ id: w, wait: { signal: go, timeout: 10s } }]
        right: [{ id: s, sleep: 3s }, { id: t, tool: sim.pure, with: {} }]
        code:
          - id: f
            code: anything
            with: { v: $input }
            tools: [sim.pure, sim.read, sim.irreversible]
            on_error: continue
            deadline: 1h
        child: [{ id: c, deadline: 20s, budget: { CHILD }, flow: { file: child.yaml, input: { v: $input } } }]
        other: [{ id: d, budget: { CHILD }, on_budget: e, flow: { file: child.yaml } }, { id: e, set: { poor: true } }]
  - { id: join, after: [items, sides, same], set: { joined: true } }
  - id: count
    set: { n: "{{ vars.n + 1 }}" }
  - id: more
    tool: sim.irreversible
    with: { n: $vars.n }
    on_error: continue
    on_unknown: fail
    compensate: { tool: sim.pure, with: { n: $vars.n, deep: "{{ steps.more.output.x.y }}" } }
    next: [{ when: "{{ vars.n < 3 }}", to: count }]
  - { id: leave, set: { left: true } }
  - { id: poor, set: { left: true } }
  - { id: ask, approval: { of: last, quorum: 2, expires: 1h }, on_error: continue }
  - { id: last, tool: sim.irreversible, with: { n: $vars.m }, on_unknown: fail, on_error: continue }
  - id: after
    set: { m: "{{ vars.m + 1 }}" }
    next: [{ when: "{{ vars.m < 2 }}", to: last }]
  - { id: again, when: "{{ vars.n > 4 }}", continue: { input: $input } }
output: { v: $steps.first.output, items: $steps.items.output, n: $vars.n }
"#;

/// Budgets of the run, of its items and of each child: of which there is enough, or almost, and far too little.
const BUDGETS: &[(&str, &str, &str)] = &[
    ("{ steps: 1000 }", "{ usd: 1000 }", "{ steps: 50 }"),
    (
        "{ usd: 1.40, tokens: 40, steps: 30, tool_calls: 14, duration: 15m, on_exceeded: ask }",
        "{ usd: 0.70, tool_calls: 7, duration: 1m }",
        "{ usd: 0.30, tokens: 9, steps: 4, tool_calls: 3, on_exceeded: ask }",
    ),
    (
        "{ tokens: 18, tool_calls: 9, on_exceeded: ask }",
        "{ usd: 0.55, duration: 20s, on_exceeded: ask }",
        "{ duration: 30s }",
    ),
    ("{ usd: 0.65, tokens: 18 }", "{ usd: 0.45 }", "{ tokens: 9 }"),
];

/// Something that a function asks for, if one is at work.
fn asks(run: &Run, seed: &mut Seed, value: &Value) -> Option<Input> {
    let code = |step: &&aura_core::StepPath| {
        let bodies = run.node(step).and_then(|node| node.bodies());
        bodies.is_some_and(|bodies| matches!(bodies.work, Work::Code(_)))
    };
    let step = run.tasks.keys().find(code)?;
    let number = run.node(step)?.bodies()?.calls.size() as u64 + 1;
    let asked = match seed.below(6) {
        0 => Asked::Now,
        1 => Asked::Random,
        2 => Asked::Uuid,
        3 => Asked::Sleep { ms: 1_000 },
        4 => Asked::Tool { tool: "sim.read".to_owned(), args: json!({ "v": value }).into() },
        _ => Asked::Tool { tool: "sim.irreversible".to_owned(), args: json!({}).into() },
    };
    let call = asked.hash();
    Some(Input::Journal { step: step.clone(), number, asked, call })
}

/// An input that the run could get now, drawn from the seed.
fn draw(bench: &Bench, seed: &mut Seed, value: &Value) -> Option<Input> {
    let run = &bench.run;
    let called: Vec<_> =
        run.tasks.iter().filter(|(_, t)| t.phase == TaskPhase::Called).map(|(s, _)| s).collect();
    let (actor, reason) = ("me".to_owned(), Some("why".to_owned()));
    Some(match seed.below(18) {
        17 => return of_child(bench, seed, value),
        14..=16 => return asks(run, seed, value),
        0..=4 if !called.is_empty() => {
            let step = called[seed.below(called.len())].as_str().to_owned();
            let result = match seed.below(6) {
                0 => failed(certain(Code::RateLimit)),
                1 => failed(doubtful(Code::NetworkError)),
                2 => failed(certain(Code::NotFound)),
                _ if step.ends_with("/f") => {
                    succeeded(json!({ "output": value, "vars": { "n": 1 }, "next": null }))
                }
                _ => succeeded(value.clone()),
            };
            bench.outcome(&step, result)
        }
        12 if !called.is_empty() => {
            let step = called[seed.below(called.len())].clone();
            let task = &run.tasks[&step];
            let (attempt, call) = (task.attempt, task.spec.call);
            Input::Heartbeat(Heartbeat { step, attempt, call, details: value.clone().into() })
        }
        5 if !called.is_empty() => Input::Unknown { steps: run.outstanding(), doubt: Doubt::Crash },
        6 | 7 => {
            let (due, step, purpose) = run.due()?;
            Input::Timer { step: step.clone(), purpose, due }
        }
        8 => Input::Signal {
            id: seed.below(4).to_string(),
            name: "go".to_owned(),
            payload: Data::from(value.clone()),
            actor: "me".to_owned(),
        },
        9 => {
            let (step, asked) =
                run.approvals.iter().nth(seed.below(run.approvals.size().max(1)))?;
            let verdict =
                if seed.one_in(4) { ApprovalVerdict::Denied } else { ApprovalVerdict::Granted };
            let actor = if seed.one_in(2) { "ada" } else { "bob" }.to_owned();
            let action = Some(asked.request.action);
            Input::Approval { step: step.clone(), verdict, action, actor, reason: None }
        }
        10 => {
            let (_, task) = run.in_doubt().next()?;
            let outcome = match seed.below(3) {
                0 => Settlement::Retry,
                1 => Settlement::Failed(certain(Code::NotFound)),
                _ => Settlement::Succeeded(Data::from(value.clone())),
            };
            Input::Settle { key: task.spec.key, outcome, actor: "me".to_owned(), reason: None }
        }
        11 if run.paused.is_some() => Input::Resume { actor, reason },
        11 if seed.one_in(3) => Input::Pause { actor, reason },
        _ if seed.one_in(12) => Input::Cancel { actor: "me".to_owned(), reason: None },
        _ => Input::Granted { steps: run.ready().map(|(step, _)| step.clone()).collect() },
    })
}

/// What the run may be told of a child now.
fn of_child(bench: &Bench, seed: &mut Seed, value: &Value) -> Option<Input> {
    let (step, child) = bench.run.children.iter().next()?;
    let end = match seed.below(4) {
        0 => ChildEnd::Failed(certain(Code::NotFound)),
        1 => ChildEnd::Cancelled,
        2 => ChildEnd::Continued(RunId(uuid::Uuid::from_u128(seed.below(9) as u128))),
        _ => ChildEnd::Completed(Data::from(value.clone())),
    };
    let lent = bench.run.budgets.lent.get(step).copied().unwrap_or_default();
    let used = Amounts {
        usd_micros: lent.usd_micros / 2,
        tokens: seed.below(3) as u64 * lent.tokens / 2,
        steps: lent.steps.min(3),
        tool_calls: lent.tool_calls,
    };
    let used = (!seed.one_in(9)).then_some(used);
    let undo = match (&end, seed.one_in(2)) {
        (_, false) => Vec::new(),
        (ChildEnd::Failed(error), _) => {
            vec![Planned { step: "x".into(), compensation: Compensation::Unable(error.clone()) }]
        }
        _ => undone(bench),
    };
    let account = ChildAccount { used, undo };
    Some(Input::Child { step: step.clone(), run: child.run, end, account })
}

/// What undoes the steps of a child: what undoes those of the run does as well.
fn undone(bench: &Bench) -> Vec<Planned> {
    bench.run.saga.iter().flat_map(|saga| saga.planned().take(2).cloned()).collect()
}

fn failed(failure: aura_core::Failure) -> aura_core::task::TaskResult {
    aura_core::task::TaskResult::Failed { failure, retry_after_ms: None }
}

/// A history that the seed leads to.
fn history(seed: u64, value: &Value) -> Bench {
    history_within(BUDGETS, seed, value)
}

/// A history that the seed leads to, with one of these budgets.
fn history_within(budgets: &[(&str, &str, &str)], seed: u64, value: &Value) -> Bench {
    let mut seed = Seed::new(seed);
    let slots = 1 + seed.below(4);
    let (own, within, child) = budgets[seed.below(budgets.len())];
    let flow =
        FLOW.replace("{ OWN }", own).replace("{ WITHIN }", within).replace("{ CHILD }", child);
    let files = [("child.yaml", "flow: child\nnodes: [{ id: s, sleep: 1s }]\n")];
    let mut bench = Bench::with_files(&flow, &files, value.clone(), slots);
    for _ in 0..200 {
        if bench.run.closed() {
            break;
        }
        let Some(input) = draw(&bench, &mut seed, value) else { continue };
        if let Input::Timer { due, .. } = &input {
            bench.now = bench.now.max(*due);
        }
        bench.slots = seed.below(3);
        bench.kept = seed.one_in(3).then(|| Taken {
            from: Origin { run: bench.run.id, seq: 1 },
            outcome: Settlement::Succeeded(Data::from(value.clone())),
            truncated: false,
        });
        if matches!(bench.decide(&input), Decision::Turn(_)) {
            bench.give(input);
        }
    }
    bench
}

/// A flow for what is given another one.
const ANY: &str = "flow: any\nnodes: [{ id: a, tool: sim.pure, with: {} }]";

/// The facts of a commit's input that a fork before it takes over.
fn taken_over(commit: &StoredCommit) -> Vec<Event> {
    let crash = |event: &Event| matches!(&event.body, EventBody::EffectUnknown(data) if data.doubt == Doubt::Crash);
    let events = commit.events().unwrap();
    match &events[0].body {
        _ if commit.header.cause != Cause::Events => Vec::new(),
        EventBody::ApprovalGranted(_)
        | EventBody::ApprovalDenied(_)
        | EventBody::RunPaused(_)
        | EventBody::RunResumed(_) => Vec::new(),
        _ if crash(&events[0]) => events.into_iter().take_while(crash).collect(),
        _ => events[..1].to_vec(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no such number", |f| f.is_finite())
            .prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!("{{ input }}")),
        Just(json!("$steps.first.output")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_commit_is_decided_again_as_it_was(seed in any::<u64>(), value in value()) {
        let bench = history(seed, &value);
        let blobs = Arc::clone(&bench.blobs) as Arc<dyn BlobLookup>;
        let mut replay = Replay::new(Run::new(bench.run.id), Hash::ZERO, blobs);
        for commit in &bench.commits {
            replay.redecide(&bench.flow, commit).map_err(|e| {
                TestCaseError::fail(format!("{e:?}\n{}", bench.history()))
            })?;
            replay.integrity(commit).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
        }
        prop_assert_eq!(replay.run.hash, bench.run.hash);
    }

    #[test]
    fn any_prefix_folds_and_the_store_gives_back_what_memory_has(seed in any::<u64>(), value in value()) {
        let bench = history(seed, &value);
        let (mut run, mut head) = (Run::new(bench.run.id), Hash::ZERO);
        for commit in &bench.commits {
            fold_commit(&mut run, &mut head, commit).map_err(|e| TestCaseError::fail(e.to_string()))?;
        }
        prop_assert_eq!(format!("{:?}", run.root), format!("{:?}", bench.run.root));
        prop_assert_eq!(format!("{:?}", run.tasks), format!("{:?}", bench.run.tasks));
        prop_assert_eq!(format!("{:?}", run.children), format!("{:?}", bench.run.children));
        prop_assert_eq!(format!("{:?}", run.timers), format!("{:?}", bench.run.timers));
        prop_assert_eq!(run.hash, bench.run.hash);
        prop_assert_eq!(run.status(), bench.run.status());
    }

    #[test]
    fn a_run_does_the_same_by_its_own_flow_and_its_recorded_outcomes(seed in any::<u64>(), value in value()) {
        // Tries are not played again, so that what counts them is counted otherwise: there is enough of it.
        let bench = history_within(&BUDGETS[..1], seed, &value);
        let pin = bench.run.started.as_ref().unwrap().flow.clone();
        let changed = Changed {
            flow: Arc::clone(&bench.flow),
            pin,
            salt: Hash::ZERO,
            blobs: Arc::clone(&bench.blobs) as Arc<dyn BlobLookup>,
            pure: &|_, _| None,
        };
        let mut outcomes = Outcomes::default();
        for commit in &bench.commits {
            for event in &commit.events().unwrap() {
                outcomes.take(event);
            }
        }
        let mut test = Backtest::new(&changed, Run::new(bench.run.id), outcomes);
        for commit in &bench.commits {
            test.take(commit).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
        }
        let verdict = test.finish();
        prop_assert!(verdict == Verdict::Same, "{verdict:?}\n{}", bench.history());
    }

    #[test]
    fn no_call_is_made_that_would_pass_a_limit(seed in any::<u64>(), value in value()) {
        let bench = history(seed, &value);
        let mut run = Run::new(bench.run.id);
        for commit in &bench.commits {
            for event in commit.events().unwrap() {
                fold(&mut run, commit.header.at, &event).unwrap();
                let Some(step) = &event.step else { continue };
                let called = matches!(event.body, EventBody::ToolCalled(_));
                if !called || run.is_bound_to_follow(step) {
                    continue;
                }
                // Of tokens: no bill is above what was reserved, and each reservation was refused or not.
                let lack = run.budgets.lack(step, Amounts { tokens: 1, ..Amounts::default() });
                let over = |lack: &Lack| lack.spent + lack.reserved > lack.limit;
                prop_assert!(!lack.as_ref().is_some_and(over), "{lack:?}\n{}", bench.history());
            }
        }
    }

    #[test]
    fn a_value_comes_back_from_its_text_with_the_same_canonical_form(value in value()) {
        let (back, wide) = canonical::ingest(&value.to_string()).unwrap();
        prop_assert!(wide.is_empty());
        prop_assert_eq!(canonical::to_string(&back), canonical::to_string(&value));
    }
}

proptest! {
    // Each history is restored at each of its commits.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_is_forked_anywhere_or_says_why_not(seed in any::<u64>(), value in value(), live in any::<bool>()) {
        let parent = history(seed, &value);
        for cut in (1..parent.commits.len()).step_by(3) {
            let mut fork = unborn(&parent, cut, ANY);
            fork.flow = Arc::clone(&parent.flow);
            let mut asked = asked(&parent, cut, ANY);
            asked.flow = parent.run.started.as_ref().unwrap().flow.clone();
            asked.then = taken_over(&parent.commits[cut]);
            asked.effects = if live { ForkEffects::Live } else { ForkEffects::Reuse };
            let input = Input::Fork(Box::new(asked));
            match fork.decide(&input) {
                Decision::Turn(_) => fork.give(input),
                Decision::Refused(problem) if problem.code == Code::CannotFork
                    && !problem.what.contains("no place") => continue,
                other => prop_assert!(false, "cut {cut}: {other:?}\n{}", parent.history()),
            }
            let blobs = Arc::clone(&parent.blobs) as Arc<dyn BlobLookup>;
            let mut replay = Replay::new(Run::new(fork.run.id), Hash::ZERO, blobs);
            for commit in parent.commits[..cut].iter().chain(&fork.commits) {
                replay.redecide(&parent.flow, commit).map_err(|e| {
                    TestCaseError::fail(format!("cut {cut}: {e:?}\n{}", parent.history()))
                })?;
                replay.integrity(commit).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            }
        }
    }

    #[test]
    fn a_run_from_its_snapshot_goes_on_as_it_would_have(seed in any::<u64>(), value in value()) {
        let bench = history(seed, &value);
        let blobs = Arc::clone(&bench.blobs) as Arc<dyn BlobLookup>;
        let mut replay = Replay::new(Run::new(bench.run.id), Hash::ZERO, blobs);
        for commit in &bench.commits {
            replay.redecide(&bench.flow, commit).map_err(|e| {
                TestCaseError::fail(format!("{e:?}\n{}", bench.history()))
            })?;
            replay.integrity(commit).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            let bytes = to_snapshot(&replay.run, commit.hash).unwrap();
            let (run, head) = from_snapshot(&bytes).unwrap();
            prop_assert_eq!(head, commit.hash);
            prop_assert_eq!(json!(run), json!(replay.run));
            replay.run = run;
        }
        prop_assert_eq!(json!(replay.run), json!(bench.run));
    }
}
