//! Damage is found, named, and kept to what it hit.

use std::fs;

use aura_core::commit::StoredCommit;
use aura_core::data::{BlobRef, Data, blob_address};
use aura_core::error::Code;
use aura_core::id::RunId;
use aura_core::ports::{BlobError, Blobs, Group, Position, RunQuery, Store, StoreError};
use aura_store::Opened;
use aura_testkit::conformance::build::Chain;
use bytes::Bytes;

use crate::support::{self, blob_files, filled, sql};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Changes the third commit of the first run, and opens.
fn changed(change: &str) -> (tempfile::TempDir, [Chain; 2], Opened) {
    let dir = tempfile::tempdir().unwrap();
    let chains = filled(dir.path(), 5);
    let place = "run = (SELECT number FROM runs WHERE run = ?1) AND seq = 3";
    let id = chains[0].run.0.as_bytes().to_vec();
    assert_eq!(sql(dir.path()).execute(&format!("{change} WHERE {place}"), [id]).unwrap(), 1);
    let opened = support::owner(dir.path());
    (dir, chains, opened)
}

fn faults(store: &dyn Store) -> Vec<(Option<RunId>, Code, String)> {
    store.check().unwrap().faults
}

/// Exactly one fault, of this run and code, that names the event.
fn only_fault(store: &dyn Store, run: RunId, code: Code) {
    let faults = faults(store);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!((faults[0].0, faults[0].1), (Some(run), code));
    assert!(faults[0].2.contains("event 3"), "{faults:?}");
}

fn sound(commits: &[StoredCommit]) -> bool {
    let mut head = aura_core::hash::Hash::ZERO;
    (1..).zip(commits).all(|(seq, commit)| {
        let good = commit.check(head, seq).is_ok();
        head = commit.hash;
        good
    })
}

#[test]
fn a_changed_byte_of_a_payload_is_found() {
    let (_dir, [hit, other], opened) =
        changed("UPDATE commits SET payload = CAST('y' || substr(payload, 2) AS BLOB)");
    only_fault(&*opened.store, hit.run, Code::ChainBroken);
    assert!(!sound(&opened.store.read(hit.run, 1, 10).unwrap()));
    assert!(sound(&opened.store.read(other.run, 1, 10).unwrap()));
}

#[test]
fn a_changed_hash_is_found() {
    let (_dir, [hit, _], opened) = changed("UPDATE commits SET hash = randomblob(32)");
    let faults = faults(&*opened.store);
    // The commit itself, and the one that was chained to what stood there.
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.0 == Some(hit.run) && fault.1 == Code::ChainBroken));
}

#[test]
fn a_damaged_header_is_told_and_hinders_nobody_else() {
    for header in ["randomblob(3)", "zeroblob(66)", "CAST(x'FF' || substr(header, 2) AS BLOB)"] {
        let (_dir, [hit, mut other], opened) =
            changed(&format!("UPDATE commits SET header = {header}"));
        let store = &*opened.store;
        let error = store.read(hit.run, 1, 10).unwrap_err();
        let StoreError::Broken { message, .. } = &error else { panic!("{error:?}") };
        assert!(message.contains(&hit.run.to_string()) && message.contains("event 3"), "{message}");
        assert_eq!(store.read(hit.run, 1, 2).unwrap().len(), 2);
        assert_eq!(store.read(other.run, 1, 10).unwrap().len(), 5);
        // The log is readable up to the damage, and beyond it.
        let before = store.tail(Position(0), 10).unwrap();
        assert_eq!(before.len(), 4);
        let error = store.tail(before[3].0, 10).unwrap_err();
        assert!(error.to_string().contains(&hit.run.to_string()), "{error}");
        assert_eq!(store.tail(Position(5), 10).unwrap().len(), 5);
        store.append(&other.step(*b"the writer goes on")).unwrap();
        let code = error.code();
        only_fault(store, hit.run, code);
    }
}

#[test]
fn a_commit_of_another_run_in_the_place_is_found() {
    let (_dir, [hit, other], opened) =
        changed("UPDATE commits SET header = (SELECT header FROM commits WHERE position = 6)");
    assert!(opened.store.read(hit.run, 1, 10).is_err());
    assert_eq!(opened.store.read(other.run, 1, 10).unwrap().len(), 5);
    only_fault(&*opened.store, hit.run, Code::ChainBroken);
}

#[test]
fn a_deleted_commit_is_found() {
    let (_dir, [hit, _], opened) = changed("DELETE FROM commits");
    only_fault(&*opened.store, hit.run, Code::ChainBroken);
}

#[test]
fn a_row_that_disagrees_with_the_log_is_found() {
    for change in ["UPDATE runs SET mark = 2, events = 4", "UPDATE runs SET status = NULL"] {
        let dir = tempfile::tempdir().unwrap();
        let [hit, other] = filled(dir.path(), 5);
        let id = hit.run.0.as_bytes().to_vec();
        sql(dir.path()).execute(&format!("{change} WHERE run = ?1"), [id]).unwrap();
        let opened = support::owner(dir.path());
        let faults = faults(&*opened.store);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!((faults[0].0, faults[0].1), (Some(hit.run), Code::StoreCorrupt));
        assert_eq!(opened.store.read(other.run, 1, 10).unwrap().len(), 5);
    }
}

#[test]
fn commits_without_a_row_and_damaged_rows_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let [hit, _] = filled(dir.path(), 5);
    let id = hit.run.0.as_bytes().to_vec();
    sql(dir.path()).execute("DELETE FROM runs WHERE run = ?1", [id]).unwrap();
    let opened = support::owner(dir.path());
    let found = faults(&*opened.store);
    assert!(found.iter().any(|fault| fault.1 == Code::StoreCorrupt), "{found:?}");
    drop(opened);
    sql(dir.path()).execute("UPDATE runs SET labels = 'no JSON'", []).unwrap();
    let opened = support::owner(dir.path());
    let error = opened.store.runs(&RunQuery::default()).unwrap_err();
    assert_eq!(error.code(), Code::StoreCorrupt);
}

#[test]
fn damaged_pages_are_found() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 200);
    let file = support::database(dir.path());
    let mut bytes = fs::read(&file).unwrap();
    let pages = bytes.len() / 4_096;
    for page in pages / 2..pages / 2 + 4 {
        bytes[page * 4_096..page * 4_096 + 64].fill(0xa5);
    }
    fs::write(&file, bytes).unwrap();
    let found = faults(&*support::owner(dir.path()).store);
    assert!(found.iter().any(|fault| fault.1 == Code::StoreCorrupt), "{found:?}");
}

#[test]
fn a_damaged_blob_is_found_and_healed_by_putting_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let plain = Bytes::from(vec![7; 100_000]);
    let blob = block_on(opened.blobs.put(plain.clone())).unwrap();
    let [file] = &blob_files(dir.path())[..] else { panic!("one file") };
    let sound = fs::read(file).unwrap();
    let other = zstd::bulk::compress(b"other", 1).unwrap();
    for damaged in [&sound[..sound.len() - 1], &[], &[0; 10], &other] {
        fs::write(file, damaged).unwrap();
        assert_eq!(block_on(opened.blobs.get(blob)), Err(BlobError::Corrupt(blob.blob)));
        let found = faults(&*opened.store);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1, Code::BlobCorrupt);
        assert!(found[0].2.contains(&blob.blob.to_string()));
    }
    assert_eq!(block_on(opened.blobs.put(plain.clone())), Ok(blob));
    assert_eq!(block_on(opened.blobs.get(blob)), Ok(plain));
    assert_eq!(faults(&*opened.store), []);
}

#[test]
fn a_blob_that_unpacks_to_more_than_it_should_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let blob = block_on(opened.blobs.put(Bytes::from_static(b"small"))).unwrap();
    let [file] = &blob_files(dir.path())[..] else { panic!("one file") };
    fs::write(file, zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap()).unwrap();
    assert_eq!(block_on(opened.blobs.get(blob)), Err(BlobError::Corrupt(blob.blob)));
}

#[test]
fn a_damaged_blob_of_the_table_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let blob = blob_address(opened.store.salt(), b"blob");
    let blobs = vec![(blob.blob, Bytes::from_static(b"blob"))];
    opened.store.append(&Group { blobs, ..Group::default() }).unwrap();
    let changes = ["bytes = x'00'", "size = 3", "size = -1", "size = 1 << 40"];
    for change in changes {
        sql(dir.path()).execute(&format!("UPDATE blobs SET {change}"), []).unwrap();
        assert_eq!(opened.store.blob(blob.blob).unwrap_err().code(), Code::BlobCorrupt, "{change}");
        assert_eq!(block_on(opened.blobs.get(blob)), Err(BlobError::Corrupt(blob.blob)));
        assert_eq!(faults(&*opened.store)[0].1, Code::BlobCorrupt);
    }
    opened.store.append(&Chain::new(1).step(*b"the writer goes on")).unwrap();
}

#[test]
fn a_blob_that_is_named_but_missing_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    let there = block_on(opened.blobs.put(Bytes::from_static(b"there"))).unwrap();
    let gone = BlobRef { blob: aura_core::hash::Hash::of(b"gone"), bytes: 4 };
    // What is looked for is Data in CBOR, wherever it stands.
    let data = |data: Data| minicbor::to_vec(vec![data]).unwrap();
    let mut chain = Chain::new(1);
    opened.store.append(&chain.step(data(Data::Blob(there)))).unwrap();
    // A flow's own value may look like a reference; it is none.
    opened.store.append(&chain.step(data(serde_json::json!({"blob": gone}).into()))).unwrap();
    assert_eq!(faults(&*opened.store), []);
    opened.store.append(&chain.step(data(Data::Blob(gone)))).unwrap();
    let found = faults(&*opened.store);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, found[0].1), (Some(chain.run), Code::BlobMissing));
    assert!(found[0].2.contains(&gone.blob.to_string()));
}
