//! What every store must do where runs and blobs are removed.

use aura_core::data::blob_address;
use aura_core::id::RunId;
use aura_core::ports::{Compaction, Group, Mark, Retention, RunQuery, RunRow, RunStatus, Store};
use aura_core::time::Millis;
use bytes::Bytes;

use super::Place;
use super::build::Chain;
use super::store::tail;

/// Runs 1 to 4, of which the last has not ended; run n ended at n and has n + 1 events.
fn four_runs(store: &dyn Store) -> Vec<Chain> {
    let runs = (1..=4).map(|number: u32| {
        let mut chain = Chain::new(u64::from(number));
        store.append(&chain.step(*b"begins")).expect("append");
        let commit = chain.commit(number, *b"ends");
        let status = if number < 4 { RunStatus::Completed } else { RunStatus::Waiting };
        let mark = if number < 4 { Mark::Closed } else { Mark::Asleep(None) };
        let row = RunRow { status, mark, updated: Millis(i64::from(number)), ..chain.row() };
        let group = Group { commits: vec![commit], rows: vec![row], ..Group::default() };
        store.append(&group).expect("append");
        chain
    });
    runs.collect()
}

fn keep(retention: Retention) -> Compaction {
    Compaction { retention, actor: "me".to_owned(), ..Compaction::default() }
}

/// Whatever the word for it.
pub fn runs_go_however_they_ended(place: &dyn Place) {
    let store = place.open().store;
    let all = keep(Retention { runs: Some(0), ..Retention::default() });
    for (number, status) in (1..).zip(RunStatus::ALL) {
        let mut chain = Chain::new(number);
        let mark = if status.closed() { Mark::Closed } else { Mark::Asleep(None) };
        let mut group = chain.step(*b"x");
        group.rows = vec![RunRow { status, mark, ..chain.row() }];
        store.append(&group).expect("append");
        let done = store.compact(&all).expect("compact");
        assert_eq!(done.runs, u64::from(status.closed()), "{status:?}");
    }
}

/// Those whose events forks share, and those whose end the run above may not have heard.
pub fn runs_stay_while_others_need_them(place: &dyn Place) {
    let store = place.open().store;
    let ends = |chain: &mut Chain, above: Option<RunId>| {
        let mut group = chain.step(*b"x");
        let (status, mark) = (RunStatus::Completed, Mark::Closed);
        group.rows = vec![RunRow { status, mark, parent: above, ..chain.row() }];
        store.append(&group).expect("append");
    };
    let all = keep(Retention { runs: Some(0), ..Retention::default() });
    let (mut shared, mut above, mut child) = (Chain::new(1), Chain::new(2), Chain::new(3));
    ends(&mut shared, None);
    let mut fork = shared.fork(4);
    store.append(&fork.step(*b"own")).expect("append");
    store.append(&above.step(*b"waits")).expect("append");
    ends(&mut child, Some(above.run));
    assert_eq!(store.compact(&all).expect("compact").runs, 0);
    assert_eq!(store.read(fork.run, 1, 10).expect("read").len(), 2);
    ends(&mut above, None);
    ends(&mut fork, None);
    assert_eq!(store.compact(&all).expect("compact").runs, 3, "the parent of the fork goes later");
    assert_eq!(store.compact(&all).expect("compact").runs, 1);
    assert_eq!(store.check().expect("check").faults, []);
}

/// By each limit, those that ended first; open runs stay.
pub fn runs_beyond_a_limit_go_whole(place: &dyn Place) {
    let store = place.open().store;
    let runs = four_runs(&*store);
    let nothing = store.compact(&keep(Retention::default())).expect("compact");
    assert_eq!((nothing.runs, nothing.bytes), (0, 0));
    let done = store.compact(&keep(Retention { runs: Some(2), ..Retention::default() }));
    let done = done.expect("compact");
    assert_eq!((done.runs, done.events), (1, 2));
    assert_eq!(store.read(runs[0].run, 1, 10).expect("read"), []);
    assert_eq!(store.snapshot(runs[0].run).expect("snapshot"), None);
    // Runs 2 and 3 have 3 and 4 events.
    let events = |most| Retention { events: Some(most), ..Retention::default() };
    assert_eq!(store.compact(&keep(events(7))).expect("compact").runs, 0);
    assert_eq!(store.compact(&keep(events(6))).expect("compact").events, 3);
    let since = |at| Retention { since: Some(Millis(at)), ..Retention::default() };
    assert_eq!(store.compact(&keep(since(3))).expect("compact").runs, 0);
    assert_eq!(store.compact(&keep(since(4))).expect("compact").runs, 1);
    let bytes = Retention { bytes: Some(0), ..Retention::default() };
    assert_eq!(store.compact(&keep(bytes)).expect("compact").runs, 0, "an open run stays");
    assert_eq!(store.read(runs[3].run, 1, 10).expect("read").len(), 2);
    assert_eq!(store.runs(&RunQuery::default()).expect("runs").len(), 1);
    assert_eq!(store.check().expect("check").faults, []);
    assert_eq!(store.info().expect("info").removals, 3);
}

/// It tells what a real one does.
pub fn a_dry_run_removes_nothing(place: &dyn Place) {
    let store = place.open().store;
    four_runs(&*store);
    let before = tail(&*store);
    let asked = keep(Retention { runs: Some(1), ..Retention::default() });
    let would = store.compact(&Compaction { dry_run: true, ..asked.clone() }).expect("compact");
    assert_eq!(would.runs, 2);
    assert_eq!(tail(&*store), before);
    assert_eq!(store.info().expect("info").removals, 0);
    assert_eq!(store.compact(&asked).expect("compact"), would);
    assert_eq!(store.check().expect("check").faults, []);
}

/// As if it had never been.
pub fn a_removed_run_may_come_again(place: &dyn Place) {
    let store = place.open().store;
    let runs = four_runs(&*store);
    let all = Retention { runs: Some(0), ..Retention::default() };
    store.compact(&keep(all)).expect("compact");
    let mut again = Chain::new(1);
    assert_eq!(again.run, runs[0].run);
    store.append(&again.step(*b"again")).expect("append");
    assert_eq!(store.read(again.run, 1, 10).expect("read").len(), 1);
    assert_eq!(store.check().expect("check").faults, []);
}

/// Even if the newest ones are removed, and after reopening.
pub fn positions_are_given_out_once(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(9);
    let mut group = chain.step(*b"x");
    for row in &mut group.rows {
        row.status = RunStatus::Completed;
        row.mark = Mark::Closed;
    }
    let last = store.append(&group).expect("append").position;
    store.compact(&keep(Retention { runs: Some(0), ..Retention::default() })).expect("compact");
    assert_eq!(tail(&*store), []);
    drop(store);
    let store = place.open().store;
    let next = store.append(&Chain::new(10).step(*b"y")).expect("append").position;
    assert!(next > last, "{next:?} after {last:?}");
    assert_eq!(store.tail(last, 10).expect("tail").len(), 1);
}

/// One of the table goes when nothing has named it for as long as was asked, known by an earlier sweep; a group that
/// brings it again makes it young.
pub fn only_blobs_that_nothing_names_are_swept(place: &dyn Place) {
    let store = place.open().store;
    let salt = store.info().expect("info").salt;
    let blob = |bytes: &'static [u8]| {
        (blob_address(salt, bytes), (blob_address(salt, bytes).blob, Bytes::from_static(bytes)))
    };
    let (named, of_old, orphan) = (blob(b"named"), blob(b"of a run that goes"), blob(b"orphan"));
    let young = blob(b"brought again");
    let payload = |blob: aura_core::data::BlobRef| minicbor::to_vec([blob]).expect("CBOR");
    let (mut new, mut old) = (Chain::new(1), Chain::new(2));
    let mut group = new.step(payload(named.0));
    let of_the_old = old.step(payload(of_old.0));
    group.commits.extend(of_the_old.commits);
    group.rows.extend(of_the_old.rows.into_iter().map(|row| RunRow {
        status: RunStatus::Failed,
        mark: Mark::Closed,
        ..row
    }));
    group.blobs = vec![named.1, of_old.1, orphan.1, young.1.clone()];
    store.append(&group).expect("append");
    let has = |blob: aura_core::data::BlobRef| store.blob(blob.blob).expect("blob").is_some();
    let swept = |at: i64, before: i64, retention| Compaction {
        orphans_before: Some(Millis(before)),
        at: Millis(at),
        ..keep(retention)
    };
    let none = Retention::default();
    assert_eq!(store.compact(&swept(10, 5, none)).expect("compact").blobs, 0);
    let again = Group { blobs: vec![young.1], ..Group::default() };
    store.append(&again).expect("append");
    let all = Retention { runs: Some(0), ..Retention::default() };
    let asked = swept(20, 15, all);
    let would = store.compact(&Compaction { dry_run: true, ..asked.clone() }).expect("compact");
    assert!(has(orphan.0));
    let done = store.compact(&asked).expect("compact");
    assert_eq!((done.runs, done.blobs, done), (1, 1, would));
    assert_eq!([named.0, of_old.0, orphan.0, young.0].map(has), [true, true, false, true]);
    assert_eq!(store.compact(&swept(30, 25, none)).expect("compact").blobs, 2);
    assert_eq!([named.0, of_old.0, young.0].map(has), [true, false, false]);
    assert_eq!(store.check().expect("check").faults, []);
}
