use std::sync::Arc;

use aura_store::{Access, open};
use aura_testkit::conformance::{Handles, Place};
use tempfile::TempDir;

struct Directory(TempDir);

impl Place for Directory {
    fn open(&self) -> Handles {
        let opened = open(self.0.path(), Access::Owner).unwrap();
        Handles { store: opened.store, blobs: opened.blobs }
    }
}

fn directory() -> Directory {
    Directory(tempfile::tempdir().unwrap())
}

aura_testkit::store_conformance!(directory());
aura_testkit::blobs_conformance!(directory());

/// A reader beside the owner, and one without an owner, see what the owner wrote.
#[test]
fn readers_see_what_the_owner_wrote() {
    use aura_core::ports::{Position, Store, StoreError};
    let place = tempfile::tempdir().unwrap();
    let owner = open(place.path(), Access::Owner).unwrap();
    let mut chain = aura_testkit::conformance::build::Chain::new(1);
    owner.store.append(&chain.step(*b"first")).unwrap();
    let reader = open(place.path(), Access::Reader).unwrap();
    owner.store.append(&chain.step(*b"second")).unwrap();
    assert_eq!(reader.store.tail(Position(0), 10).unwrap().len(), 2);
    assert_eq!(reader.store.salt(), owner.store.salt());
    let refused = reader.store.append(&chain.clone().step(*b"third"));
    assert!(matches!(refused, Err(StoreError::Busy { .. })), "{refused:?}");
    drop(owner);
    assert_eq!(reader.store.tail(Position(0), 10).unwrap().len(), 2);
    drop(reader);
    let reader = open(place.path(), Access::Reader).unwrap();
    assert_eq!(reader.store.read(chain.run, 1, 10).unwrap().len(), 2);
    assert_eq!(reader.store.check().unwrap().faults, []);
    assert_eq!(Arc::strong_count(&reader.blobs), 1);
}
