//! Who may open what.

use std::fs;
use std::path::Path;

use aura_core::error::Code;
use aura_core::ports::Store;
use aura_store::{Access, OwnerInfo, open, owner};
use rusqlite::Connection;

use crate::support::{self, SmallDisk, database, filled, refused, sql};

#[test]
fn a_second_owner_is_refused_and_told_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(owner(dir.path()), None);
    let first = support::owner(dir.path());
    let pid = std::process::id();
    let problem = open(dir.path(), Access::Owner).unwrap_err();
    assert_eq!(problem.code, Code::StoreOwned);
    assert!(problem.what.contains(&pid.to_string()), "{}", problem.what);
    assert_eq!(owner(dir.path()), Some(OwnerInfo { pid, socket: None }));
    let socket = dir.path().join("aura.sock");
    first.store.announce(Some(&socket)).unwrap();
    assert_eq!(owner(dir.path()), Some(OwnerInfo { pid, socket: Some(socket.clone()) }));
    let problem = open(dir.path(), Access::Owner).unwrap_err();
    assert!(problem.next.unwrap().contains(socket.to_str().unwrap()));
    first.store.announce(None).unwrap();
    assert_eq!(owner(dir.path()), Some(OwnerInfo { pid, socket: None }));
    drop(first);
    assert_eq!(owner(dir.path()), None);
    support::owner(dir.path());
}

#[test]
fn a_lock_file_left_by_a_killed_owner_hinders_nobody() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("aura.lock"), "{\"pid\":1,\"socket\":\"/x\"}\n").unwrap();
    assert_eq!(owner(dir.path()), None);
    support::owner(dir.path());
}

#[test]
fn blobs_keep_the_store_owned() {
    let dir = tempfile::tempdir().unwrap();
    let opened = support::owner(dir.path());
    drop(opened.store);
    assert!(owner(dir.path()).is_some());
    drop(opened.blobs);
    assert_eq!(owner(dir.path()), None);
}

#[test]
fn a_reader_finds_no_store_and_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    for missing in [dir.path().to_owned(), dir.path().join("no/such/folder")] {
        let problem = open(&missing, Access::Reader).unwrap_err();
        assert_eq!(problem.code, Code::NotFound);
        assert!(problem.what.contains(missing.to_str().unwrap()));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_announces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1);
    let reader = open(dir.path(), Access::Reader).unwrap();
    assert_eq!(reader.store.announce(None).unwrap_err().code, Code::StoreOwned);
}

#[test]
fn tables_of_a_newer_build_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1);
    sql(dir.path()).pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(refused(dir.path()), Code::StoreNewer);
    let problem = open(dir.path(), Access::Owner).unwrap_err();
    assert!(problem.what.contains("99"), "{}", problem.what);
}

#[test]
fn commits_of_another_format_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1);
    let other = 7_u32.to_be_bytes();
    let changed = "UPDATE meta SET value = ?1 WHERE name = 'format'";
    sql(dir.path()).execute(changed, [&other[..]]).unwrap();
    assert_eq!(refused(dir.path()), Code::StoreFormat);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let other = Connection::open(database(dir.path())).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(other);
    let before = fs::read(database(dir.path())).unwrap();
    assert_eq!(open(dir.path(), Access::Owner).unwrap_err().code, Code::StoreFormat);
    assert_eq!(open(dir.path(), Access::Reader).unwrap_err().code, Code::StoreFormat);
    assert_eq!(fs::read(database(dir.path())).unwrap(), before);
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["a letter to a friend", &"x".repeat(10_000)] {
        fs::write(database(dir.path()), text).unwrap();
        assert_eq!(refused(dir.path()), Code::StoreCorrupt);
        assert_eq!(fs::read(database(dir.path())).unwrap(), text.as_bytes());
    }
}

#[test]
fn a_folder_in_the_place_of_the_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(database(dir.path())).unwrap();
    assert_eq!(refused(dir.path()), Code::StoreUnavailable);
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 100);
    let whole = fs::read(database(dir.path())).unwrap();
    for length in [0, 10, 99, 100, 4_096, whole.len() / 2, whole.len() - 4_096] {
        fs::write(database(dir.path()), &whole[..length]).unwrap();
        assert_eq!(refused(dir.path()), Code::StoreCorrupt, "{length} bytes left");
        assert_eq!(fs::read(database(dir.path())).unwrap().len(), length);
    }
    fs::write(database(dir.path()), &whole).unwrap();
    assert_eq!(support::log_length(&*support::owner(dir.path()).store), 200);
}

#[test]
fn a_log_without_its_file_is_not_taken_for_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("aura.db-wal"), "anything").unwrap();
    assert_eq!(open(dir.path(), Access::Owner).unwrap_err().code, Code::StoreCorrupt);
    assert!(!database(dir.path()).exists());
}

#[test]
fn a_creation_that_was_interrupted_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("aura.db-new"), "half a file").unwrap();
    fs::write(dir.path().join("aura.db-new-journal"), "half a journal").unwrap();
    assert_eq!(support::log_length(&*support::owner(dir.path()).store), 0);
}

fn written_only_by_reading(dir: &Path) {
    let problem = open(dir, Access::Owner).unwrap_err();
    assert_eq!(problem.code, Code::StoreReadOnly, "{problem:?}");
    let reader = open(dir, Access::Reader).unwrap();
    assert_eq!(support::log_length(&*reader.store), 6);
    assert_eq!(reader.store.check().unwrap().faults, []);
}

/// Permission bits mean nothing to the superuser, so the folder is a file system that is mounted read-only.
#[test]
fn a_folder_that_cannot_be_written_is_told_to_the_owner_and_open_to_readers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path(), "4m");
    filled(dir.path(), 3);
    disk.read_only();
    written_only_by_reading(dir.path());
}
