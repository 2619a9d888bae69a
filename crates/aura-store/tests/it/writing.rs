//! How the writer treats its log, and what a killed or broken one leaves behind.

use std::fs;

use aura_core::error::Code;
use aura_core::ports::{Position, RunQuery, Store, StoreError};
use aura_testkit::conformance::build::Chain;

use crate::support::{self, database, filled, log_length, sql};

#[test]
fn what_a_killed_owner_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let mut chain = Chain::new(1);
    for acknowledged in 1..=20 {
        opened.store.append(&chain.step(*b"x")).unwrap();
        // What the files hold at this moment is what a kill would leave.
        let killed = tempfile::tempdir().unwrap();
        for name in ["aura.db", "aura.db-wal"] {
            fs::copy(dir.path().join(name), killed.path().join(name)).unwrap();
        }
        let recovered = support::owner(killed.path());
        assert_eq!(log_length(&*recovered.store), acknowledged);
        recovered.store.append(&chain.clone().step(*b"and on")).unwrap();
    }
}

#[test]
fn the_log_of_a_busy_writer_stays_bounded_and_is_gone_after_closing() {
    const MIB: usize = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let log = dir.path().join("aura.db-wal");
    let mut chain = Chain::new(1);
    let mut longest = 0;
    for _ in 0..24 {
        opened.store.append(&chain.step(vec![7; 8 * MIB])).unwrap();
        longest = longest.max(fs::metadata(&log).unwrap().len());
    }
    assert!(longest > 8 * MIB as u64 && longest < 96 * MIB as u64, "{longest}");
    drop(opened);
    assert!(!log.exists());
    let opened = support::owner(dir.path());
    assert_eq!(log_length(&*opened.store), 24);
    assert_eq!(opened.store.check().unwrap().faults, []);
}

#[test]
fn a_broken_writer_refuses_everything_until_it_is_reopened() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1);
    let opened = support::owner(dir.path());
    let store = &*opened.store;
    let mut chain = Chain::new(3);
    store.append(&chain.step(*b"x")).unwrap();
    // Another program takes the next place in the log, which no owner ever shares.
    let theirs = "INSERT INTO commits SELECT 4, 9, 1, header, hash, payload FROM commits LIMIT 1";
    sql(dir.path()).execute(theirs, []).unwrap();
    let error = store.append(&chain.clone().step(*b"y")).unwrap_err();
    assert!(matches!(error, StoreError::Broken { code: Code::ChainBroken, .. }), "{error:?}");
    assert_eq!(store.append(&chain.clone().step(*b"y")).unwrap_err(), error);
    assert_eq!(store.read(chain.run, 1, 1).unwrap_err(), error);
    assert_eq!(store.tail(Position(0), 1).unwrap_err(), error);
    assert_eq!(store.runs(&RunQuery::default()).unwrap_err(), error);
    assert_eq!(store.info().unwrap_err(), error);
    drop(opened);
    let opened = support::owner(dir.path());
    opened.store.append(&chain.step(*b"y")).unwrap();
}

#[test]
fn a_lock_that_another_program_holds_is_busy_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let other = sql(dir.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let group = Chain::new(1).step(*b"x");
    let error = opened.store.append(&group).unwrap_err();
    assert!(matches!(error, StoreError::Busy { code: Code::Busy, .. }), "{error:?}");
    assert_eq!(log_length(&*opened.store), 0);
    other.execute_batch("ROLLBACK").unwrap();
    opened.store.append(&group).unwrap();
}

#[test]
fn the_store_says_how_it_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let info = opened.store.info().unwrap();
    assert_eq!(info.engine["synchronous"], "full");
    assert_eq!(info.engine["journal_mode"], "wal");
    assert!(info.engine["compile_options"].contains("THREADSAFE"));
    // The workspace sets the flag for every build of it; without it each commit would sync more than it needs.
    assert_eq!(info.engine["fdatasync"], "true");
    assert_eq!(info.location, dir.path().to_str().unwrap());
    assert!(info.bytes >= fs::metadata(database(dir.path())).unwrap().len());
}
