//! Ways into a data directory that the store itself does not offer.

use std::path::{Path, PathBuf};
use std::process::Command;

use aura_core::error::Code;
use aura_core::ports::{Position, Store};
use aura_store::{Access, Opened, open};
use aura_testkit::conformance::build::Chain;
use rusqlite::Connection;

/// A store with two runs of `commits` commits each, closed.
pub(crate) fn filled(dir: &Path, commits: usize) -> [Chain; 2] {
    let mut chains = [Chain::new(1), Chain::new(2)];
    let opened = owner(dir);
    for _ in 0..commits {
        for chain in &mut chains {
            opened.store.append(&chain.step(vec![b'x'; 200])).unwrap();
        }
    }
    chains
}

pub(crate) fn owner(dir: &Path) -> Opened {
    open(dir, Access::Owner).unwrap()
}

/// The code with which both kinds of access are refused.
pub(crate) fn refused(dir: &Path) -> Code {
    let owner = open(dir, Access::Owner).unwrap_err();
    let reader = open(dir, Access::Reader).unwrap_err();
    assert_eq!(owner.code, reader.code, "owner: {owner:?}\nreader: {reader:?}");
    assert!(owner.kept.is_some() && owner.next.is_some(), "{owner:?}");
    owner.code
}

pub(crate) fn database(dir: &Path) -> PathBuf {
    dir.join("aura.db")
}

/// The database, for another program.
pub(crate) fn sql(dir: &Path) -> Connection {
    Connection::open(database(dir)).unwrap()
}

pub(crate) fn log_length(store: &dyn Store) -> usize {
    store.tail(Position(0), usize::MAX).unwrap().len()
}

/// The files of all blobs.
pub(crate) fn blob_files(dir: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries(&dir.join("blobs")).flat_map(|folder| entries(&folder)).collect()
}

/// A small file system of its own, until it is dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(at: &Path, size: &str) -> Self {
        let options = format!("size={size}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at);
        match command.output() {
            Ok(done) if done.status.success() => Self(at.to_owned()),
            other => panic!(
                "this test needs a file system of {size}: run it as a user who may mount one: {other:?}"
            ),
        }
    }

    pub(crate) fn read_only(&self) {
        let mut command = Command::new("mount");
        let done = command.args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
