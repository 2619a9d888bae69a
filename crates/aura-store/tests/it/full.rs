//! A full disk takes nothing away and stops nobody from reading.

use std::fs;

use aura_core::error::Code;
use aura_core::ports::{BlobError, Blobs, Store, StoreError};
use aura_store::{Access, open};
use aura_testkit::conformance::build::Chain;
use bytes::Bytes;

use crate::support::{self, SmallDisk};

#[test]
fn what_was_acknowledged_before_the_disk_was_full_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let _disk = SmallDisk::mount(dir.path(), "2m");
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![1; 512 << 10]).unwrap();
    let opened = support::owner(dir.path());
    let mut chain = Chain::new(1);
    let mut acknowledged = 0;
    let error = loop {
        let mut next = chain.clone();
        match opened.store.append(&next.step(vec![7; 20_000])) {
            Ok(_) => (chain, acknowledged) = (next, acknowledged + 1),
            Err(error) => break error,
        }
    };
    assert!(acknowledged > 10);
    let StoreError::Busy { code, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*code, Code::StoreFull);
    assert_eq!(support::log_length(&*opened.store), acknowledged);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let noise: Vec<u8> =
        (0..400_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let put = runtime.block_on(opened.blobs.put(Bytes::from(noise)));
    assert!(matches!(put, Err(BlobError::Full(_))), "{put:?}");
    fs::remove_file(&ballast).unwrap();
    opened.store.append(&chain.step(vec![8; 20_000])).unwrap();
    drop(opened);
    let opened = support::owner(dir.path());
    assert_eq!(support::log_length(&*opened.store), acknowledged + 1);
    assert_eq!(opened.store.check().unwrap().faults, []);
}

#[test]
fn a_disk_without_room_for_a_new_store_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let _disk = SmallDisk::mount(dir.path(), "64k");
    fs::write(dir.path().join("ballast"), vec![1; 48 << 10]).unwrap();
    let problem = open(dir.path(), Access::Owner).unwrap_err();
    assert_eq!(problem.code, Code::StoreFull, "{problem:?}");
    assert!(!support::database(dir.path()).exists());
}
