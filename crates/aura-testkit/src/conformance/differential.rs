//! Arbitrary histories, good groups and bad ones, on a store and on the model: both must say the same throughout.

use std::collections::BTreeMap;

use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::ports::{
    Appended, Group, Mark, Position, RunQuery, RunRow, RunStatus, Store, StoreError,
};
use aura_core::time::Millis;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Place;
use super::build::Chain;
use crate::model_store::{Disk, ModelStore};

/// Runs of a history: few, so that its groups meet in them.
const RUNS: usize = 4;

/// Histories per test.
const CASES: u32 = 48;

#[derive(Debug, Clone)]
enum Step {
    Append(Plan),
    Reopen,
}

#[derive(Debug, Clone)]
struct Plan {
    commits: Vec<CommitPlan>,
    rows: Vec<(usize, RunRow)>,
    blobs: Vec<(Vec<u8>, bool)>,
}

#[derive(Debug, Clone)]
struct CommitPlan {
    run: usize,
    count: u32,
    /// How far its place is from the right one.
    off: u64,
    payload: Vec<u8>,
}

fn commit_plan() -> impl Strategy<Value = CommitPlan> {
    let off = prop_oneof![30 => Just(0), 1 => Just(1), 1 => Just(u64::MAX)];
    let count = prop_oneof![30 => 1..5_u32, 1 => Just(0)];
    (0..RUNS, count, off, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(run, count, off, payload)| CommitPlan { run, count, off, payload })
}

fn row_plan() -> impl Strategy<Value = (usize, RunRow)> {
    let status = prop::sample::select(RunStatus::ALL.to_vec());
    let mark = prop_oneof![
        Just(Mark::Active),
        any::<Option<i64>>().prop_map(|at| Mark::Asleep(at.map(Millis))),
        Just(Mark::Closed),
    ];
    let labels = prop::collection::btree_map("[ab]", "\\PC{0,2}|x", 0..3);
    let error = prop::option::of(prop::sample::select(Code::ALL.to_vec()));
    let times = (0..3_i64, any::<i64>());
    let counts = (0..1_000_u64, any::<u32>());
    let ends = (counts, error, prop::collection::vec(related(), 3));
    (0..RUNS, "[fg]", status, mark, labels, (times, ends)).prop_map(
        |(run, flow, status, mark, labels, ((started, updated), (counts, error, related)))| {
            let (events, in_doubt) = counts;
            let row = RunRow {
                run: Chain::new(run as u64).run,
                flow_hash: Hash::of(flow.as_bytes()),
                flow,
                status,
                mark,
                labels,
                started: Millis(started),
                updated: Millis(updated),
                events,
                in_doubt,
                error,
                forked: None,
                parent: related[0],
                root: related[1],
                next: related[2],
            };
            (run, row)
        },
    )
}

/// Another run, or none.
fn related() -> impl Strategy<Value = Option<RunId>> {
    prop::option::of((0..RUNS).prop_map(|run| Chain::new(run as u64).run))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let blob = (prop::collection::vec(0..3_u8, 0..4), prop::bool::weighted(0.95));
    let plan = (
        prop::collection::vec(commit_plan(), 0..6),
        prop::collection::vec(row_plan(), 0..4),
        prop::collection::vec(blob, 0..2),
    )
        .prop_map(|(commits, rows, blobs)| Plan { commits, rows, blobs });
    let step = prop_oneof![12 => plan.prop_map(Step::Append), 1 => Just(Step::Reopen)];
    prop::collection::vec(step, 1..20)
}

fn query() -> impl Strategy<Value = RunQuery> {
    let statuses = prop::collection::vec(prop::sample::select(RunStatus::ALL.to_vec()), 0..4);
    let prefix = prop::option::of(
        (0..RUNS, 0..10_usize)
            .prop_map(|(run, length)| Chain::new(run as u64).run.to_string()[..length].to_owned()),
    );
    let labels = prop::collection::btree_map("[ab]", "\\PC{0,1}|x", 0..2);
    let tree = (
        prop::option::weighted(0.2, related()),
        prop::option::weighted(0.2, related()),
        prop::bool::weighted(0.2),
    );
    (prefix, statuses, prop::option::of("[fgh]"), labels, 0..4_usize, tree).prop_map(
        |(id_prefix, statuses, flow, labels, limit, (parent, root, top))| RunQuery {
            top,
            parent: parent.flatten(),
            root: root.flatten(),
            id_prefix,
            statuses,
            flow,
            labels,
            limit,
        },
    )
}

/// The group of a plan, and where the chains stand if it is taken.
fn group(
    plan: &Plan,
    chains: &BTreeMap<usize, Chain>,
    salt: Hash,
) -> (Group, BTreeMap<usize, Chain>) {
    let mut chains = chains.clone();
    let mut commits = Vec::new();
    for commit in &plan.commits {
        let chain = chains.entry(commit.run).or_insert_with(|| Chain::new(commit.run as u64));
        let seq = chain.next.wrapping_add(commit.off);
        if commit.off == 0 {
            commits.push(chain.commit(commit.count, commit.payload.clone()));
        } else {
            commits.push(chain.commit_at(seq, commit.count, commit.payload.clone()));
        }
    }
    let rows = plan.rows.iter().map(|(_, row)| row.clone()).collect();
    let blobs = plan.blobs.iter().map(|(bytes, sound)| {
        let salt = if *sound { salt } else { Hash::ZERO };
        (aura_core::data::blob_address(salt, bytes).blob, Bytes::from(bytes.clone()))
    });
    let keys = Vec::new();
    (Group { commits, rows, blobs: blobs.collect(), keys }, chains)
}

/// What a caller can tell apart.
fn answer(result: Result<Appended, StoreError>) -> Result<Appended, (bool, Code)> {
    result.map_err(|error| (matches!(error, StoreError::Broken { .. }), error.code()))
}

fn compare(store: &dyn Store, model: &dyn Store, queries: &[RunQuery]) {
    let log = model.tail(Position(0), usize::MAX).expect("model");
    assert_eq!(store.tail(Position(0), usize::MAX).expect("tail"), log);
    for after in 0..=log.len() as u64 {
        let page = model.tail(Position(after), 3).expect("model");
        assert_eq!(store.tail(Position(after), 3).expect("tail"), page);
    }
    for run in 0..RUNS {
        let run = Chain::new(run as u64).run;
        for from in 0..12 {
            for limit in [1, usize::MAX] {
                let wanted = model.read(run, from, limit).expect("model");
                assert_eq!(store.read(run, from, limit).expect("read"), wanted);
            }
        }
    }
    for query in queries {
        assert_eq!(store.runs(query).expect("runs"), model.runs(query).expect("model"));
    }
    let (told, wanted) = (store.info().expect("info"), model.info().expect("model"));
    assert_eq!(
        (told.commits, told.events, told.runs, told.position),
        (wanted.commits, wanted.events, wanted.runs, wanted.position)
    );
}

/// Runs the suite; `make` makes a new, empty place each time.
pub fn run<P: Place>(make: impl Fn() -> P) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let histories = (steps(), prop::collection::vec(query(), 8));
    let result = TestRunner::new(config).run(&histories, |(steps, queries)| {
        let place = make();
        let mut handles = place.open();
        let salt = handles.store.info().expect("info").salt;
        let model = ModelStore::from_disk(Disk { salt, ..Disk::default() });
        let mut chains = BTreeMap::new();
        for step in &steps {
            match step {
                Step::Reopen => {
                    drop(handles);
                    handles = place.open();
                }
                Step::Append(plan) => {
                    let (group, after) = group(plan, &chains, salt);
                    let wanted = answer(model.append(&group));
                    prop_assert_eq!(answer(handles.store.append(&group)), wanted);
                    if wanted.is_ok() {
                        chains = after;
                    }
                    for (address, _) in &group.blobs {
                        let wanted = model.blob(*address).expect("model");
                        prop_assert_eq!(handles.store.blob(*address).expect("blob"), wanted);
                    }
                }
            }
        }
        compare(&*handles.store, &model, &queries);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
