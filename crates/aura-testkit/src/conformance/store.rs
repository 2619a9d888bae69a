//! What every [`Store`] must do.

use std::sync::atomic::{AtomicBool, Ordering};

use aura_core::commit::StoredCommit;
use aura_core::data::{Data, blob_address};
use aura_core::error::Code;
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::ports::{
    Group, KeyRow, KeyState, Mark, Position, RunQuery, RunRow, RunStatus, Snapshot, Store,
    StoreError,
};
use aura_core::time::Millis;
use bytes::Bytes;
use serde_json::json;

use super::Place;
use super::build::{Chain, commits, rows};

pub(super) fn tail(store: &dyn Store) -> Vec<StoredCommit> {
    let tail = store.tail(Position(0), usize::MAX).expect("tail");
    tail.into_iter().map(|(_, commit)| commit).collect()
}

fn broken(result: Result<impl Sized, StoreError>) -> Code {
    match result {
        Err(StoreError::Broken { code, .. }) => code,
        Err(other) => panic!("expected a refusal, got {other:?}"),
        Ok(_) => panic!("expected a refusal"),
    }
}

/// At once, and in order.
pub fn what_is_appended_is_read(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    assert_eq!(store.read(chain.run, 1, 10).expect("read"), []);
    let first = chain.commit(2, *b"first");
    let at = store.append(&commits(vec![first.clone()])).expect("append").position;
    let second = chain.commit(1, *b"second");
    let then = store.append(&commits(vec![second.clone()])).expect("append").position;
    assert!(then > at);
    assert_eq!(store.read(chain.run, 1, 10).expect("read"), [first, second]);
    assert_eq!(store.read(Chain::new(2).run, 1, 10).expect("read"), []);
}

/// Payloads are bytes, not text; hashes and headers are not made anew.
pub fn bytes_come_back_as_they_were(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    let payloads = [Vec::new(), vec![0; 3], (0..=255).collect(), b"{\"a\": 1.0}\n".to_vec()];
    let mut sent: Vec<StoredCommit> =
        payloads.into_iter().map(|payload| chain.commit(3, payload)).collect();
    // The store keeps what it is given; only a check judges hashes.
    if let Some(last) = sent.last_mut() {
        last.hash = Hash::of(b"another");
        last.header.at = Millis(i64::MIN);
        last.header.epoch = u64::MAX;
        last.header.more = true;
    }
    store.append(&commits(sent.clone())).expect("append");
    assert_eq!(store.read(chain.run, 1, 10).expect("read"), sent);
    assert_eq!(tail(&*store), sent);
}

/// The event asked for may stand in the middle of a commit.
pub fn reading_starts_at_the_commit_that_holds_the_event(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    let mut other = Chain::new(2);
    let sent: Vec<_> = [3, 1, 4].into_iter().map(|count| chain.commit(count, *b"x")).collect();
    store.append(&commits(vec![other.commit(5, *b"other")])).expect("append");
    store.append(&commits(sent.clone())).expect("append");
    for (from, first) in
        [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (7, 2), (8, 2), (9, 3), (u64::MAX, 3)]
    {
        let read = store.read(chain.run, from, 10).expect("read");
        assert_eq!(read, sent[first..], "from event {from}");
    }
}

/// At most as many as asked for, from none to more than there are.
pub fn pages_obey_their_limit(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    let sent: Vec<_> = (0..5).map(|_| chain.commit(1, *b"x")).collect();
    store.append(&commits(sent.clone())).expect("append");
    for limit in [0, 1, 3, 5, 6, usize::MAX] {
        let most = limit.min(5);
        assert_eq!(store.read(chain.run, 1, limit).expect("read"), sent[..most]);
        assert_eq!(store.tail(Position(0), limit).expect("tail").len(), most);
    }
}

/// A bad commit in the middle takes all with it, rows and blobs too; the store stays usable.
pub fn a_group_is_all_or_nothing(place: &dyn Place) {
    let store = place.open().store;
    let mut kept = Chain::new(1);
    store.append(&kept.step(*b"kept")).expect("append");
    let before = (tail(&*store), store.info().expect("info").position);
    let (mut good, mut new) = (kept.clone(), Chain::new(2));
    let salt = store.info().expect("info").salt;
    let blob = blob_address(salt, b"blob").blob;
    let mut changed = kept.row();
    "changed".clone_into(&mut changed.flow);
    let group = Group {
        commits: vec![
            good.commit(1, *b"good"),
            new.commit(1, *b"new"),
            new.commit_at(5, 1, *b"gap"),
            good.commit(1, *b"good"),
        ],
        rows: vec![changed, new.row()],
        blobs: vec![(blob, Bytes::from_static(b"blob"))],
        keys: Vec::new(),
    };
    assert_eq!(broken(store.append(&group)), Code::ChainBroken);
    assert_eq!((tail(&*store), store.info().expect("info").position), before);
    assert_eq!(store.runs(&RunQuery::default()).expect("runs"), [kept.row()]);
    assert_eq!(store.blob(blob).expect("blob"), None);
    store.append(&kept.step(*b"next")).expect("the store stays usable");
    assert_eq!(store.read(kept.run, 1, 10).expect("read").len(), 2);
}

/// In a new run, in a known one, and within a group.
pub fn a_gap_is_refused(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    for seq in [0, 2, u64::MAX] {
        let bad = commits(vec![chain.commit_at(seq, 1, *b"x")]);
        assert_eq!(broken(store.append(&bad)), Code::ChainBroken, "first at {seq}");
    }
    store.append(&chain.step(*b"x")).expect("append");
    let bad = commits(vec![chain.commit_at(3, 1, *b"x")]);
    assert_eq!(broken(store.append(&bad)), Code::ChainBroken);
    let mut ahead = chain.clone();
    let bad = commits(vec![ahead.commit(2, *b"x"), ahead.commit_at(5, 1, *b"x")]);
    assert_eq!(broken(store.append(&bad)), Code::ChainBroken);
    assert_eq!(tail(&*store).len(), 1);
}

/// Whether it comes again in its own group or in another.
pub fn a_duplicate_is_refused(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    let first = chain.commit(2, *b"x");
    let twice = commits(vec![first.clone(), first.clone()]);
    assert_eq!(broken(store.append(&twice)), Code::ChainBroken);
    store.append(&commits(vec![first.clone()])).expect("append");
    assert_eq!(broken(store.append(&commits(vec![first]))), Code::ChainBroken);
    let within = commits(vec![chain.commit_at(2, 1, *b"x")]);
    assert_eq!(broken(store.append(&within)), Code::ChainBroken);
    assert_eq!(tail(&*store).len(), 1);
}

/// It would have no place of its own.
pub fn a_commit_without_events_is_refused(place: &dyn Place) {
    let store = place.open().store;
    let bad = commits(vec![Chain::new(1).commit(0, *b"x")]);
    assert_eq!(broken(store.append(&bad)), Code::ChainBroken);
    assert_eq!(tail(&*store), []);
}

/// Run-ahead makes such groups.
pub fn a_group_may_hold_many_commits_of_a_run(place: &dyn Place) {
    let store = place.open().store;
    let mut chains = [Chain::new(1), Chain::new(2)];
    let mut sent = Vec::new();
    for at in 0..300_u32 {
        let chain = &mut chains[at as usize % 2];
        sent.push(chain.commit(1 + at % 3, at.to_be_bytes()));
    }
    let appended = store.append(&commits(sent.clone())).expect("append");
    assert_eq!(store.info().expect("info").position, appended.position);
    assert_eq!(tail(&*store), sent);
    let first = chains[0].run;
    let of_first: Vec<_> = sent.into_iter().filter(|commit| commit.header.run == first).collect();
    assert_eq!(store.read(first, 1, usize::MAX).expect("read"), of_first);
}

/// It says where the log ends.
pub fn an_empty_group_changes_nothing(place: &dyn Place) {
    let store = place.open().store;
    let empty = store.append(&Group::default()).expect("append");
    assert_eq!(empty.position, Position(0));
    let at = store.append(&Chain::new(1).step(*b"x")).expect("append");
    assert_eq!(store.append(&Group::default()).expect("append"), at);
}

/// Page by page it yields every commit once, with ascending positions.
pub fn the_tail_goes_in_log_order(place: &dyn Place) {
    let store = place.open().store;
    let mut chains: Vec<Chain> = (0..4).map(Chain::new).collect();
    let mut sent = Vec::new();
    for at in 0..40_usize {
        let chain = &mut chains[at * 7 % 4];
        let group = chain.step(at.to_be_bytes());
        sent.extend(group.commits.clone());
        store.append(&group).expect("append");
    }
    let (mut at, mut seen) = (Position::default(), Vec::new());
    loop {
        let page = store.tail(at, 7).expect("tail");
        let Some((last, _)) = page.last() else { break };
        assert!(page.iter().map(|(place, _)| *place).is_sorted_by(|a, b| a < b));
        assert!(page[0].0 > at);
        at = *last;
        seen.extend(page.into_iter().map(|(_, commit)| commit));
    }
    assert_eq!(seen, sent);
    assert_eq!(store.info().expect("info").position, at);
    assert_eq!(store.tail(Position(u64::MAX), 1).expect("tail"), []);
}

/// Within a group and across groups.
pub fn the_last_row_counts(place: &dyn Place) {
    let store = place.open().store;
    let chain = Chain::new(1);
    let mut row = chain.row();
    row.labels = [("team".to_owned(), "käse \"x\" \\".to_owned())].into();
    let states = [
        (RunStatus::Running, Mark::Active, None),
        (RunStatus::Waiting, Mark::Asleep(Some(Millis(-5))), None),
        (RunStatus::Waiting, Mark::Asleep(None), None),
        (RunStatus::Running, Mark::Active, Some(Code::Timeout)),
        (RunStatus::Failed, Mark::Closed, Some(Code::InDoubt)),
        (RunStatus::Failed, Mark::Closed, None),
    ];
    for (at, (status, mark, error)) in (1..).zip(states) {
        let old = row.clone();
        (row.status, row.mark, row.error) = (status, mark, error);
        (row.updated, row.events, row.in_doubt) = (Millis(at), at.unsigned_abs() * 3, 2);
        store.append(&rows(vec![old, row.clone()])).expect("append");
        assert_eq!(store.runs(&RunQuery::default()).expect("runs"), [row.clone()]);
    }
    (row.flow, row.started) = ("other".to_owned(), Millis(9));
    let other = Some(Chain::new(77).run);
    (row.parent, row.root, row.next) = (other, other, other);
    row.labels.clear();
    store.append(&rows(vec![row.clone()])).expect("append");
    assert_eq!(store.runs(&RunQuery::default()).expect("runs"), [row]);
}

fn numbered(number: u64) -> RunRow {
    let mut row = Chain::new(number).row();
    row.started = Millis(i64::try_from(number / 2).unwrap_or(0));
    row.status = RunStatus::ALL[usize::try_from(number).unwrap_or(0) % RunStatus::ALL.len()];
    let place = usize::try_from(number).unwrap_or(0);
    ["a", "b", "c"][place % 3].clone_into(&mut row.flow);
    row.labels = [
        ("even".to_owned(), number.is_multiple_of(2).to_string()),
        ("number".to_owned(), number.to_string()),
    ]
    .into();
    if number > 1_000 {
        row.parent = Some(Chain::new(number / 100).run);
        row.root = Some(Chain::new(number / 1_000).run).filter(|_| !number.is_multiple_of(10));
    }
    row
}

fn fill(store: &dyn Store, count: u64) -> Vec<RunRow> {
    let mut all: Vec<RunRow> = (0..count).map(numbered).collect();
    store.append(&rows(all.clone())).expect("append");
    all.sort_by_key(|row| std::cmp::Reverse((row.started, row.run)));
    all
}

/// By their start, then by their id; without a limit, a thousand.
pub fn runs_are_listed_newest_first(place: &dyn Place) {
    let store = place.open().store;
    let all = fill(&*store, 2_500);
    for limit in [1, 2, 999, 1_000, 1_001, 2_500, usize::MAX] {
        let found = store.runs(&RunQuery { limit, ..RunQuery::default() }).expect("runs");
        assert_eq!(found, all[..limit.min(2_500)], "limit {limit}");
    }
    assert_eq!(store.runs(&RunQuery::default()).expect("runs"), all[..1_000]);
}

/// Alone and together.
pub fn runs_are_found_by_status_flow_and_label(place: &dyn Place) {
    let store = place.open().store;
    let all = fill(&*store, 2_100);
    let check = |query: RunQuery, wanted: &dyn Fn(&RunRow) -> bool| {
        let wanted: Vec<_> =
            all.iter().filter(|row| wanted(row)).take(query.limit).cloned().collect();
        assert_eq!(store.runs(&query).expect("runs"), wanted, "{query:?}");
    };
    let base = || RunQuery { limit: 10_000, ..RunQuery::default() };
    for status in RunStatus::ALL {
        check(RunQuery { statuses: vec![status], ..base() }, &|row| row.status == status);
    }
    let open: Vec<_> = RunStatus::ALL.into_iter().filter(|status| !status.closed()).collect();
    check(RunQuery { statuses: open, ..base() }, &|row| !row.status.closed());
    let mixed = vec![RunStatus::Failed, RunStatus::Running];
    check(RunQuery { statuses: mixed.clone(), ..base() }, &|row| mixed.contains(&row.status));
    check(RunQuery { flow: Some("b".to_owned()), ..base() }, &|row| row.flow == "b");
    check(RunQuery { flow: Some("B'--".to_owned()), ..base() }, &|_| false);
    let even: std::collections::BTreeMap<_, _> = [("even".to_owned(), "true".to_owned())].into();
    let is_even = |row: &RunRow| row.labels["even"] == "true";
    check(RunQuery { labels: even.clone(), ..base() }, &is_even);
    check(RunQuery { labels: even.clone(), limit: 1_020, ..base() }, &is_even);
    let mut one = even.clone();
    one.insert("number".to_owned(), "8".to_owned());
    check(RunQuery { labels: one.clone(), ..base() }, &|row| row.labels["number"] == "8");
    one.insert("number".to_owned(), "7".to_owned());
    check(RunQuery { labels: one, ..base() }, &|_| false);
    let both =
        RunQuery { labels: even, flow: Some("a".to_owned()), statuses: mixed.clone(), ..base() };
    check(both, &|row| is_even(row) && row.flow == "a" && mixed.contains(&row.status));
}

/// The children of a run, and all runs below one.
pub fn runs_are_found_by_their_tree(place: &dyn Place) {
    let store = place.open().store;
    let all = fill(&*store, 2_100);
    let check = |query: RunQuery, wanted: &dyn Fn(&RunRow) -> bool| {
        let wanted: Vec<_> = all.iter().filter(|row| wanted(row)).cloned().collect();
        assert_eq!(store.runs(&query).expect("runs"), wanted, "{query:?}");
    };
    let base = || RunQuery { limit: 10_000, ..RunQuery::default() };
    let parent = Some(Chain::new(12).run);
    check(RunQuery { parent, ..base() }, &|row| row.parent == parent);
    let root = Some(Chain::new(1).run);
    check(RunQuery { root, ..base() }, &|row| row.root == root);
    check(RunQuery { top: true, ..base() }, &|row| row.root.is_none());
    let failed = vec![RunStatus::Failed];
    check(RunQuery { parent, root, statuses: failed, ..base() }, &|row| {
        row.parent == parent && row.root == root && row.status == RunStatus::Failed
    });
    check(RunQuery { parent: Some(Chain::new(9_999).run), ..base() }, &|_| false);
}

/// Digits of any case, dashes or none; what is no start of an id finds nothing.
pub fn runs_are_found_by_the_start_of_their_id(place: &dyn Place) {
    let store = place.open().store;
    let all = fill(&*store, 300);
    let find = |prefix: &str| {
        let id_prefix = Some(prefix.to_owned());
        store.runs(&RunQuery { id_prefix, ..RunQuery::default() }).expect("runs")
    };
    let id = all[7].run.to_string();
    for length in 0..=id.len() {
        let prefix = &id[..length];
        let wanted: Vec<_> = all
            .iter()
            .filter(|row| row.run.to_string().starts_with(prefix.trim_end_matches('-')))
            .cloned()
            .collect();
        assert_eq!(find(prefix), wanted, "{prefix}");
        assert_eq!(find(&prefix.to_uppercase()), wanted, "{prefix}");
        assert_eq!(find(&prefix.replace('-', "")), wanted, "{prefix}");
    }
    for nonsense in ["g", "x1", &format!("{id}0"), "é", "%", "_"] {
        assert_eq!(find(nonsense), [], "{nonsense}");
    }
}

/// Up to the limit, and not beyond.
pub fn sizes_are_checked(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    let most = u32::try_from(limits::COMMIT_EVENTS).expect("small");
    let bytes = limits::COMMIT_BYTES;
    for bad in [chain.commit_at(1, most + 1, *b"x"), chain.commit_at(1, 1, vec![0; bytes + 1])] {
        assert_eq!(broken(store.append(&commits(vec![bad]))), Code::LimitExceeded);
    }
    let largest = chain.commit(most, vec![7; bytes]);
    store.append(&commits(vec![largest.clone()])).expect("append");
    assert_eq!(store.read(chain.run, 1, 10).expect("read"), [largest]);
}

/// Found by address, stored once, also without any commit.
pub fn blobs_come_with_their_group(place: &dyn Place) {
    let store = place.open().store;
    let salt = store.info().expect("info").salt;
    let mut chain = Chain::new(1);
    for bytes in [Bytes::new(), "small".into(), vec![3; limits::BLOB_TABLE_BYTES].into()] {
        let address = blob_address(salt, &bytes).blob;
        assert_eq!(store.blob(address).expect("blob"), None);
        for _ in 0..2 {
            let mut group = chain.step(*b"x");
            group.blobs = vec![(address, bytes.clone()), (address, bytes.clone())];
            store.append(&group).expect("append");
            assert_eq!(store.blob(address).expect("blob"), Some(bytes.clone()));
        }
    }
}

/// Too large, or under an address that is not theirs.
pub fn wrong_blobs_are_refused(place: &dyn Place) {
    let store = place.open().store;
    let salt = store.info().expect("info").salt;
    let large = Bytes::from(vec![0; limits::BLOB_TABLE_BYTES + 1]);
    let cases = [
        (blob_address(salt, &large).blob, large, Code::LimitExceeded),
        (Hash::of(b"x"), Bytes::from_static(b"x"), Code::BlobCorrupt),
    ];
    for (address, bytes, code) in cases {
        let mut group = Chain::new(1).step(*b"x");
        group.blobs = vec![(address, bytes)];
        assert_eq!(broken(store.append(&group)), code);
        assert_eq!(store.blob(address).expect("blob"), None);
        assert_eq!(tail(&*store), []);
    }
}

/// Log, rows, blobs, positions and salt; and the chains go on.
pub fn everything_is_there_after_reopening(place: &dyn Place) {
    let mut chain = Chain::new(1);
    let (salt, blob, sent) = {
        let store = place.open().store;
        let salt = store.info().expect("info").salt;
        let blob = blob_address(salt, b"blob").blob;
        let mut group = chain.step(*b"first");
        group.blobs.push((blob, Bytes::from_static(b"blob")));
        store.append(&group).expect("append");
        (salt, blob, tail(&*store))
    };
    let store = place.open().store;
    assert_eq!(store.info().expect("info").salt, salt);
    assert_eq!(store.blob(blob).expect("blob"), Some(Bytes::from_static(b"blob")));
    assert_eq!(tail(&*store), sent);
    assert_eq!(store.runs(&RunQuery::default()).expect("runs"), [chain.row()]);
    let stale = Chain::new(1).commit(1, *b"first");
    assert_eq!(broken(store.append(&commits(vec![stale]))), Code::ChainBroken);
    let at = store.append(&chain.step(*b"second")).expect("append").position;
    assert_eq!(store.tail(Position(0), 10).expect("tail").last().map(|last| last.0), Some(at));
    assert_eq!(store.read(chain.run, 1, 10).expect("read").len(), 2);
}

/// Commits, events and runs.
pub fn info_counts(place: &dyn Place) {
    let store = place.open().store;
    let empty = store.info().expect("info");
    assert_eq!((empty.commits, empty.events, empty.runs), (0, 0, 0));
    assert_eq!(empty.format, u32::from(aura_core::commit::FORMAT));
    for number in 0..3 {
        let mut chain = Chain::new(number);
        let sent = vec![chain.commit(2, *b"x"), chain.commit(3, *b"y")];
        let group = Group { commits: sent, rows: vec![chain.row()], ..Group::default() };
        store.append(&group).expect("append");
    }
    let info = store.info().expect("info");
    assert_eq!((info.commits, info.events, info.runs), (6, 15, 3));
}

/// And everything was looked at.
pub fn a_sound_store_has_no_faults(place: &dyn Place) {
    let handles = place.open();
    let salt = handles.store.info().expect("info").salt;
    for number in 0..5 {
        let mut chain = Chain::new(number);
        let sent: Vec<_> = (0..300).map(|_| chain.commit(2, *b"x")).collect();
        let blob = Bytes::from(number.to_be_bytes().to_vec());
        let blobs = vec![(blob_address(salt, &blob).blob, blob)];
        let group = Group { commits: sent, rows: vec![chain.row()], blobs, ..Group::default() };
        handles.store.append(&group).expect("append");
    }
    let health = handles.store.check().expect("check");
    assert_eq!(health.faults, []);
    assert_eq!((health.commits, health.blobs), (1_500, 5));
}

/// A reader sees whole groups, in order, and never waits for ever.
pub fn readers_go_on_while_a_writer_appends(place: &dyn Place) {
    const GROUPS: u64 = 150;
    let store = place.open().store;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut seen = 0;
                loop {
                    let ended = done.load(Ordering::Acquire);
                    let log = tail(&*store);
                    assert_eq!(log.len() % 2, 0, "half a group is seen");
                    assert!(log.len() >= seen, "what was seen is gone");
                    seen = log.len();
                    let (mut head, mut next) = (Hash::ZERO, 1);
                    for commit in log {
                        commit.check(head, next).expect("the chain holds");
                        (head, next) = (commit.hash, next + 1);
                    }
                    if ended {
                        assert_eq!(seen as u64, GROUPS * 2);
                        return;
                    }
                }
            });
        }
        let mut chain = Chain::new(1);
        for _ in 0..GROUPS {
            let sent = vec![chain.commit(1, *b"a"), chain.commit(1, *b"b")];
            store.append(&commits(sent)).expect("append");
        }
        done.store(true, Ordering::Release);
    });
}

fn snapshot(chain: &Chain, seq: u64, bytes: &'static [u8]) -> Snapshot {
    Snapshot { run: chain.run, seq, bytes: Bytes::from_static(bytes) }
}

/// One for each run, and never an older one in place of a newer.
pub fn the_latest_snapshot_is_kept(place: &dyn Place) {
    let store = place.open().store;
    let (mut one, mut other) = (Chain::new(1), Chain::new(2));
    store.append(&one.step(*b"one")).expect("append");
    store.append(&other.step(*b"other")).expect("append");
    assert_eq!(store.snapshot(one.run).expect("snapshot"), None);
    let kept = snapshot(&one, 7, b"seven");
    store.keep_snapshot(&kept).expect("keep");
    store.keep_snapshot(&snapshot(&one, 3, b"three")).expect("keep");
    assert_eq!(store.snapshot(one.run).expect("snapshot"), Some(kept));
    let again = snapshot(&one, 7, b"");
    store.keep_snapshot(&again).expect("keep");
    assert_eq!(store.snapshot(one.run).expect("snapshot"), Some(again));
    let later = snapshot(&one, 9, &[0, 255, 7]);
    store.keep_snapshot(&later).expect("keep");
    assert_eq!(store.snapshot(one.run).expect("snapshot"), Some(later.clone()));
    assert_eq!(store.snapshot(other.run).expect("snapshot"), None);
    assert_eq!(store.read(one.run, 1, 10).expect("read").len(), 1);
    drop(store);
    let store = place.open().store;
    assert_eq!(store.snapshot(one.run).expect("snapshot"), Some(later));
}

/// It would be found by a run that comes later under this id.
pub fn a_snapshot_of_no_run_is_not_kept(place: &dyn Place) {
    let store = place.open().store;
    let nobody = Chain::new(1);
    store.keep_snapshot(&snapshot(&nobody, 1, b"x")).expect("keep");
    assert_eq!(store.snapshot(nobody.run).expect("snapshot"), None);
    assert!(store.runs(&RunQuery::default()).expect("runs").is_empty());
}

/// There is a limit, and crossing it breaks nothing.
pub fn too_large_a_snapshot_is_refused(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    store.append(&chain.step(*b"x")).expect("append");
    let bytes = vec![0; limits::SNAPSHOT_BYTES + 1].into();
    let large = Snapshot { run: chain.run, seq: 1, bytes };
    assert_eq!(broken(store.keep_snapshot(&large)), Code::LimitExceeded);
    assert_eq!(store.snapshot(chain.run).expect("snapshot"), None);
    store.append(&chain.step(*b"y")).expect("the store stays usable");
}

/// Nothing is copied: what is shared is read from the parent, whole commits with their own ids.
pub fn a_fork_shares_the_beginning_of_its_parent(place: &dyn Place) {
    let mut handles = place.open();
    let mut parent = Chain::new(1);
    let shared: Vec<_> = [2, 1].into_iter().map(|count| parent.commit(count, *b"both")).collect();
    let group = Group { commits: shared.clone(), rows: vec![parent.row()], ..Group::default() };
    handles.store.append(&group).expect("append");
    let mut fork = parent.fork(2);
    handles.store.append(&parent.step(*b"parent")).expect("append");
    let before = handles.store.read(parent.run, 1, 10).expect("read");
    let own: Vec<_> = [3, 1].into_iter().map(|count| fork.commit(count, *b"fork")).collect();
    let first = Group { commits: own[..1].to_vec(), rows: vec![fork.row()], ..Group::default() };
    let mut row = fork.row();
    row.events = 6;
    handles.store.append(&Group { rows: vec![row], ..first }).expect("append");
    drop(handles);
    handles = place.open();
    let then = Group { commits: own[1..].to_vec(), rows: vec![fork.row()], ..Group::default() };
    handles.store.append(&then).expect("append after reopening");
    let store = handles.store;
    let whole = [shared, own].concat();
    for (from, first) in [(1, 0), (2, 0), (3, 1), (4, 2), (6, 2), (7, 3), (8, 4)] {
        let read = store.read(fork.run, from, 10).expect("read");
        assert_eq!(read, whole[first..], "from event {from}");
    }
    for limit in 0..5 {
        assert_eq!(store.read(fork.run, 1, limit).expect("read"), whole[..limit]);
    }
    assert_eq!(store.read(parent.run, 1, 10).expect("read"), before, "the parent is untouched");
    let query = RunQuery { id_prefix: Some(fork.run.to_string()), ..RunQuery::default() };
    assert_eq!(store.runs(&query).expect("runs"), [fork.row()]);
    assert_eq!(store.info().expect("info").events, 8, "what is shared counts once");
    assert_eq!(store.check().expect("check").faults, []);
}

/// Also where the second fork leaves the first before that had anything of its own.
pub fn forks_of_forks_share_what_their_parents_share(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    store.append(&chain.step(*b"a")).expect("append");
    let early = chain.fork(10);
    store.append(&chain.step(*b"b")).expect("append");
    let mut fork = chain.fork(2);
    store.append(&fork.step(*b"c")).expect("append");
    let mut second = fork.fork(3);
    store.append(&fork.step(*b"d")).expect("append");
    store.append(&second.step(*b"e")).expect("append");
    // Leaves the fork where that shares everything with the first run.
    let mut third = Chain { forked: early.forked, ..early.clone() };
    if let Some(point) = &mut third.forked {
        point.parent = fork.run;
    }
    store.append(&third.step(*b"f")).expect("append");
    let payloads = |chain: &Chain| {
        let read = store.read(chain.run, 1, 10).expect("read");
        String::from_utf8(read.into_iter().flat_map(|commit| commit.payload).collect())
            .expect("letters")
    };
    let told = [&chain, &fork, &second, &third].map(payloads);
    assert_eq!(told, ["ab", "abcd", "abce", "af"]);
    assert_eq!(store.check().expect("check").faults, []);
}

/// Its parent must be there: it may just have been removed, and that harms nobody. The store stays as it was.
pub fn a_fork_of_nothing_is_refused(place: &dyn Place) {
    let store = place.open().store;
    let mut absent = Chain::new(1);
    absent.commit(1, *b"never appended");
    let mut fork = absent.fork(2);
    let refused = store.append(&fork.step(*b"fork"));
    assert!(
        matches!(refused, Err(StoreError::Busy { code: Code::RunNotFound, .. })),
        "{refused:?}"
    );
    assert_eq!(tail(&*store), []);
}

/// Where a shared key stands is durable with its group, and only with it; the last row counts.
pub fn keys_come_with_their_group(place: &dyn Place) {
    let store = place.open().store;
    let mut chain = Chain::new(1);
    let (one, two, three) = (Hash::of(b"one"), Hash::of(b"two"), Hash::of(b"three"));
    let row = |key, state| KeyRow { key, run: Chain::new(1).run, step: "a[3]/b#2".into(), state };
    let done = |at: i64| KeyState::Done {
        seq: 7,
        output: Data::from(json!({ "n": 1.5, "big": u64::MAX, "text": "\u{0}" })),
        truncated: true,
        at: Millis(at),
        until: Millis(i64::MAX),
    };
    assert_eq!(store.key(one).expect("key"), None);
    let held = |key| row(key, KeyState::Held);
    let mut group = chain.step(*b"first");
    group.keys = vec![held(one), held(two), held(three), row(three, KeyState::Free)];
    store.append(&group).expect("append");
    assert_eq!(store.key(one).expect("key"), Some(held(one)));
    assert_eq!(store.key(three).expect("key"), None);
    let mut group = chain.step(*b"second");
    group.keys = vec![row(one, done(1)), row(two, KeyState::Free), row(one, done(2))];
    store.append(&group).expect("append");
    let mut gap = commits(vec![chain.commit_at(9, 1, *b"gap")]);
    gap.keys = vec![held(two)];
    assert_eq!(broken(store.append(&gap)), Code::ChainBroken);
    store.append(&Group { keys: vec![held(three)], ..Group::default() }).expect("append");
    drop(store);
    let store = place.open().store;
    assert_eq!(store.key(one).expect("key"), Some(row(one, done(2))));
    assert_eq!(store.key(two).expect("key"), None);
    let mut rows = vec![row(one, done(2)), held(three)];
    rows.sort_by_key(|row| row.key);
    assert_eq!(store.keys(None, 9).expect("keys"), rows);
    assert_eq!(store.keys(None, 1).expect("keys"), rows[..1]);
    assert_eq!(store.keys(Some(rows[0].key), 9).expect("keys"), rows[1..]);
}
