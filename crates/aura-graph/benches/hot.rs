//! What every step pays in this crate: deciding an outcome, folding its commit, evaluating an expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::commit::{Header, StoredCommit};
use aura_core::data::{BlobRef, Data};
use aura_core::effect::EffectClass;
use aura_core::event::{FlowPin, RunStarted};
use aura_core::input::{Input, Outcome};
use aura_core::task::{Permissions, TaskResult, TaskSpec};
use aura_core::tool::{ClassRule, ToolDef};
use aura_core::{Hash, Millis, RunId, StepPath, TenantId};
use aura_graph::decide::{Decision, Gate, Grant, Turn, View, World, decide};
use aura_graph::expr::{BlobLookup, Context, Template};
use aura_graph::state::fold_commit;
use aura_graph::{Flow, Run, definition};
use divan::{Bencher, black_box};
use serde_json::{Value, json};
use uuid::Uuid;

const FLOW: &str = "flow: hot
nodes:
  - id: again
    loop:
      times: 100000
      do:
        - { id: s, tool: noop, with: { value: '{{ loop.index }}' } }
";

fn main() {
    divan::main();
}

struct Open;

impl Gate for Open {
    fn grant(&mut self, _step: &StepPath, _spec: &TaskSpec) -> Grant {
        Grant::Go
    }
}

struct NoBlobs;

impl BlobLookup for NoBlobs {
    fn value(&self, _blob: BlobRef) -> Option<Arc<Value>> {
        None
    }
}

fn flow() -> Arc<Flow> {
    let noop = ToolDef {
        name: "noop".to_owned(),
        summary: "Nothing".to_owned(),
        help: String::new(),
        class: ClassRule::Fixed(EffectClass::Idempotent),
        input: json!({ "type": "object", "properties": { "value": {} } }),
        output: json!({}),
        secret_params: Vec::new(),
        inline: false,
    };
    let tools = BTreeMap::from([(noop.name.clone(), noop)]);
    Arc::new(definition::load(FLOW, &tools).expect("the flow loads"))
}

fn start(flow: &Flow) -> Input {
    let bundle = BlobRef { blob: Hash::ZERO, bytes: 0 };
    let (name, hash) = (flow.name.clone(), flow.hash);
    let flow = FlowPin { name, version: None, hash, bundle, file: None };
    Input::Start(Box::new(RunStarted {
        flow,
        input: Data::from(json!({})),
        wide_numbers: Vec::new(),
        key: None,
        labels: BTreeMap::new(),
        deadline: None,
        budget: None,
        seed: Hash::ZERO,
        salt: Hash::ZERO,
        flags: aura_graph::flags::CURRENT.to_vec(),
        permissions: Permissions::default(),
        vars: BTreeMap::new(),
        parent: None,
        continues: None,
        signals: Vec::new(),
        actor: "bench".to_owned(),
        state: Hash::ZERO,
    }))
}

fn turn(run: &Arc<Run>, flow: &Arc<Flow>, input: &Input) -> Turn {
    let (gate, blobs) = (&mut Open, Arc::new(NoBlobs));
    let mut world = World { now: Millis(1), salt: Hash::ZERO, gate, blobs };
    match decide(run, flow, input, &mut world) {
        Decision::Turn(turn) => *turn,
        other => panic!("{input:?} led to {other:?}"),
    }
}

fn outcome(run: &Run) -> Input {
    let (step, task) = run.tasks.iter().next().expect("an open task");
    let output = Data::from(json!({ "value": 1 }));
    let result = TaskResult::Succeeded { output, artifacts: Vec::new(), truncated: false };
    let (step, call) = (step.clone(), task.spec.call);
    Input::Outcome(Outcome { step, attempt: 1, call, result })
}

/// A run after so many steps, and its last commit with the head before it.
fn after(steps: usize) -> (Arc<Run>, Arc<Flow>) {
    let flow = flow();
    let mut run = turn(&Arc::new(Run::new(RunId(Uuid::nil()))), &flow, &start(&flow)).run;
    for _ in 0..steps {
        run = turn(&run, &flow, &outcome(&run)).run;
    }
    (run, flow)
}

/// The cost of a step must not grow with the history before it.
#[divan::bench(args = [1, 1_000, 10_000])]
fn decide_outcome(bencher: Bencher<'_, '_>, steps: usize) {
    let (run, flow) = after(steps);
    let input = outcome(&run);
    bencher.bench(|| turn(black_box(&run), &flow, &input));
}

#[divan::bench(args = [1, 1_000])]
fn fold_step(bencher: Bencher<'_, '_>, steps: usize) {
    let (run, flow) = after(steps);
    let turn = turn(&run, &flow, &outcome(&run));
    let header = Header {
        tenant: TenantId::LOCAL,
        run: run.id,
        epoch: 1,
        seq: run.events + 1,
        count: u32::try_from(turn.events.len()).expect("few events"),
        at: turn.run.at,
        cause: turn.cause,
        more: false,
    };
    let commit = StoredCommit::seal(Hash::ZERO, header, &turn.events).expect("a commit");
    bencher.with_inputs(|| (Run::clone(&run), Hash::ZERO)).bench_values(|(mut run, mut head)| {
        fold_commit(&mut run, &mut head, &commit).expect("it fits");
        run
    });
}

#[divan::bench(args = ["{{ input }}", "{{ steps.again.status == 'running' and 2 > 1 }}", "a {{ run.id }} b"])]
fn expression(bencher: Bencher<'_, '_>, text: &str) {
    let (run, flow) = after(1);
    let template = Template::compile(&json!(text)).expect("an expression");
    let view = View::new(&run, &flow, &StepPath::root());
    let context = Context::new(Arc::new(view), Arc::new(NoBlobs));
    bencher.bench(|| template.value(black_box(&context)).expect("a value"));
}
