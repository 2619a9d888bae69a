//! Children that are undone with their parent: what they hand over when they end, and what becomes of it.

use std::sync::Arc;

use aura_core::child::{ChildAccount, ChildEnd};
use aura_core::data::Data;
use aura_core::error::{Code, Failure};
use aura_core::event::RunStarted;
use aura_core::hash::Hash;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::ports::RunStatus;
use aura_core::saga::{Compensation, Planned};
use aura_testkit::world::start_family;
use serde_json::{Value, json};

use super::bench::{Bench, certain};

const PARENT: &str = r"
flow: parent
nodes:
  - id: first
    tool: sim.irreversible
    with: { n: 1 }
    compensate: { tool: sim.idempotent, with: { undo: first } }
  - { id: trip, flow: { file: trip.yaml } }
  - id: second
    tool: sim.irreversible
    with: { n: 2 }
    compensate: { tool: sim.idempotent, with: { undo: second } }
  - { id: last, tool: sim.read, with: {} }
";

const TRIP: &str = r#"
flow: trip
nodes:
  - id: book
    tool: sim.irreversible
    with: { n: 3 }
    compensate: { tool: sim.idempotent, with: { undo: book, was: $steps.book.output, long: "{{ 'x' * 2000 }}" } }
  - { id: inner, flow: { file: inner.yaml } }
  - { id: wait, tool: sim.read, with: {} }
"#;

const INNER: &str = r"
flow: inner
nodes:
  - id: seat
    tool: sim.irreversible
    with: { n: 4 }
    compensate: { tool: sim.idempotent, with: { undo: seat } }
";

const FILES: &[(&str, &str)] = &[("trip.yaml", TRIP), ("inner.yaml", INNER)];

/// The run that the last turn of another starts.
fn begun(of: &Bench, flags: Option<&[u32]>) -> Bench {
    let started = of.messages.iter().find_map(|(_, input)| match input {
        Input::Start(started) => Some(started),
        _ => None,
    });
    let mut started = RunStarted::clone(started.expect("a child"));
    if let Some(flags) = flags {
        started.flags = flags.to_vec();
    }
    let files = FILES.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    let flows = start_family(1, (PARENT, &files.collect()), json!({}), Hash::ZERO).flows;
    let flow = Arc::clone(flows.get(started.flow.file.as_deref()).unwrap());
    let mut child = Bench::started(flow, started, usize::MAX);
    child.give(Input::Continue);
    child
}

/// The parent hears how its child ended.
fn hears(parent: &mut Bench, step: &str, child: &Bench) {
    let told = child.messages.iter().find_map(|(_, input)| match input {
        Input::Child { end, account, .. } => Some((end.clone(), account.clone())),
        _ => None,
    });
    let (end, account) = told.expect("the child has ended");
    end_of(parent, step, end, account);
}

fn end_of(parent: &mut Bench, step: &str, end: ChildEnd, account: ChildAccount) {
    let step = step.into();
    let run = parent.run.children.get(&step).unwrap_or_else(|| panic!("no child at {step}")).run;
    parent.give(Input::Child { step, run, end, account });
}

/// A parent and its child, which has booked a room.
fn booked() -> (Bench, Bench) {
    let mut parent = Bench::with_files(PARENT, FILES, json!({}), usize::MAX);
    parent.succeed("first", json!(null));
    let mut trip = begun(&parent, None);
    trip.succeed("book", json!("room"));
    (parent, trip)
}

/// A parent whose child and grandchild completed.
fn completed() -> Bench {
    let (mut parent, mut trip) = booked();
    let mut inner = begun(&trip, None);
    inner.succeed("seat", json!(null));
    assert_eq!(inner.run.status(), RunStatus::Completed);
    hears(&mut trip, "inner", &inner);
    trip.succeed("wait", json!(null));
    hears(&mut parent, "trip", &trip);
    // The argument that is long is a blob, so that many compensations fit the parent's commit.
    parent.blobs = Arc::clone(&trip.blobs);
    parent.succeed("second", json!(null));
    trip.replays();
    parent
}

fn undo_all(bench: &mut Bench) -> Vec<String> {
    let mut order = Vec::new();
    while bench.run.status() == RunStatus::Compensating {
        let step = bench.run.tasks.keys().next().expect("a compensation").to_string();
        bench.succeed(&step, json!(null));
        order.push(step);
    }
    order
}

fn cancel() -> Input {
    Input::Cancel { actor: "me".to_owned(), reason: None }
}

#[test]
fn a_child_that_completed_is_undone_in_its_place_with_its_own_children() {
    let mut bench = completed();
    bench.fail("last", certain(Code::NotFound));
    let order = undo_all(&mut bench);
    let expected = ["second", "trip[child]/inner[child]/seat", "trip[child]/book", "first"];
    assert_eq!(order, expected.map(|step| format!("{step}/compensate")));
    assert_eq!(bench.run.status(), RunStatus::Compensated);
    assert_eq!(bench.run.saga.as_ref().unwrap().end.compensated, 4);
    bench.replays();
    insta::assert_snapshot!(bench.history());
}

#[test]
fn the_call_that_undoes_has_the_key_that_it_would_have_in_the_child() {
    let (mut parent, mut trip) = booked();
    let planned = trip.run.saga.as_ref().unwrap().planned().next().unwrap().clone();
    let Compensation::Task(spec) = &planned.compensation else { panic!("a call") };
    let Data::Blob(_) = spec.args else { panic!("2,000 letters are kept in place") };
    let mut inner = begun(&trip, None);
    inner.succeed("seat", json!(null));
    hears(&mut trip, "inner", &inner);
    trip.succeed("wait", json!(null));
    hears(&mut parent, "trip", &trip);
    parent.succeed("second", json!(null));
    parent.give(cancel());
    parent.succeed("second/compensate", json!(null));
    parent.succeed("trip[child]/inner[child]/seat/compensate", json!(null));
    let task = &parent.run.tasks[&"trip[child]/book/compensate".into()];
    assert_eq!(task.spec, *spec);
    undo_all(&mut parent);
    assert_eq!(parent.run.status(), RunStatus::Cancelled);
}

#[test]
fn what_is_not_undone_is_listed_with_the_rest_that_is() {
    let mut bench = completed();
    bench.give(cancel());
    bench.succeed("second/compensate", json!(null));
    for _ in 0..2 {
        bench.fail("trip[child]/inner[child]/seat/compensate", certain(Code::NotFound));
        if bench.run.tasks.contains_key(&"trip[child]/book/compensate".into()) {
            break;
        }
        bench.fire();
    }
    undo_all(&mut bench);
    assert_eq!(bench.run.status(), RunStatus::CompensationFailed);
    let end = &bench.run.saga.as_ref().unwrap().end;
    assert_eq!((end.compensated, end.failed), (3, 1));
    assert_eq!(end.uncompensated[0].step.as_str(), "trip[child]/inner[child]/seat");
    bench.replays();
}

#[test]
fn a_child_that_failed_undid_itself_and_tells_what_it_could_not_undo() {
    let (mut parent, mut trip) = booked();
    let mut inner = begun(&trip, None);
    inner.succeed("seat", json!(null));
    hears(&mut trip, "inner", &inner);
    trip.fail("wait", certain(Code::NotFound));
    trip.succeed("inner[child]/seat/compensate", json!(null));
    trip.fail("book/compensate", certain(Code::NotFound));
    assert_eq!(trip.run.status(), RunStatus::CompensationFailed);
    hears(&mut parent, "trip", &trip);
    assert_eq!(undo_all(&mut parent), ["first/compensate"]);
    assert_eq!(parent.run.status(), RunStatus::CompensationFailed);
    let end = &parent.run.saga.as_ref().unwrap().end;
    assert_eq!(end.uncompensated[0].step.as_str(), "trip[child]/book");
    parent.replays();
    insta::assert_snapshot!(parent.history());
}

#[test]
fn each_run_that_went_on_in_the_place_of_a_child_is_undone() {
    let mut bench = Bench::with_files(PARENT, FILES, json!({}), usize::MAX);
    bench.succeed("first", json!(null));
    let child = begun(&bench, None);
    let mut given = child.clone_of();
    given.succeed("book", json!("room"));
    let undo: Vec<Planned> = given.run.saga.iter().flat_map(|s| s.planned().cloned()).collect();
    let account = ChildAccount { used: None, undo };
    let next = aura_core::RunId(uuid::Uuid::from_u128(7));
    end_of(&mut bench, "trip", ChildEnd::Continued(next), account.clone());
    end_of(&mut bench, "trip", ChildEnd::Completed(Data::null()), account);
    bench.give(cancel());
    bench.succeed("second", json!(null));
    let order = undo_all(&mut bench);
    let expected = ["second", "trip[child2]/book", "trip[child]/book", "first"];
    assert_eq!(order, expected.map(|step| format!("{step}/compensate")));
    bench.replays();
}

#[test]
fn more_than_a_child_hands_over_is_told_as_not_undone() {
    let source =
        "flow: many\nnodes: [{ id: a, flow: { file: trip.yaml } }, { id: w, sleep: 1h }]\n";
    let parent = Bench::with_files(source, FILES, json!({}), usize::MAX);
    let mut trip = begun(&parent, None);
    trip.succeed("book", json!(null));
    let plan = trip.run.saga.as_ref().unwrap().planned().next().unwrap().clone();
    let undo = (0..limits::CHILD_COMPENSATIONS)
        .map(|n| Planned { step: format!("s{n}").as_str().into(), ..plan.clone() })
        .collect();
    let account = ChildAccount { used: None, undo };
    end_of(&mut trip, "inner", ChildEnd::Completed(Data::null()), account);
    trip.succeed("wait", json!(null));
    let handed = trip.run.handed_over();
    assert_eq!(handed.len(), limits::CHILD_COMPENSATIONS + 1);
    let first = &handed[0];
    assert_eq!(first.step.as_str(), "book");
    assert!(matches!(
        &first.compensation,
        Compensation::Unable(Failure { code: Code::LimitExceeded, .. })
    ));
}

#[test]
fn a_run_that_began_before_children_were_undone_goes_on_as_it_was() {
    let parent = Bench::with_files(PARENT, FILES, json!({}), usize::MAX);
    let mut parent = parent;
    parent.succeed("first", json!(null));
    let mut trip = begun(&parent, Some(&[1]));
    trip.succeed("book", json!("x"));
    let mut inner = begun(&trip, None);
    assert_eq!(
        inner.run.started.as_ref().unwrap().flags,
        [1],
        "a child obeys what its parent does"
    );
    inner.succeed("seat", Value::Null);
    let [(_, Input::Child { account, .. })] = &inner.messages[..] else { panic!("its end") };
    assert!(account.undo.is_empty());
    assert_eq!(inner.run.saga.as_ref().unwrap().waiting(), 0);
}
