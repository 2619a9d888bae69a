//! The model passes the suites that it is compared by.

use std::sync::{Arc, Mutex, PoisonError};

use aura_core::error::Code;
use aura_core::ports::{Position, Store, StoreError};
use aura_testkit::conformance::build::Chain;
use aura_testkit::conformance::{Handles, Place};
use aura_testkit::model_blobs::ModelBlobs;
use aura_testkit::model_store::{ModelStore, When};

#[derive(Default)]
struct Memory(Mutex<Arc<ModelStore>>);

impl Place for Memory {
    fn open(&self) -> Handles {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Arc::new(ModelStore::from_disk(last.disk()));
        Handles { store: last.clone(), blobs: Arc::new(ModelBlobs::new(last.clone())) }
    }
}

aura_testkit::store_conformance!(Memory::default());
aura_testkit::blobs_conformance!(Memory::default());

#[test]
fn an_append_fails_before_or_after_it_is_durable() {
    let store = ModelStore::new();
    let error = StoreError::Broken { code: Code::StoreUnavailable, message: "cut".to_owned() };
    for (when, durable) in [(When::Before, 0), (When::After, 1)] {
        let copy = ModelStore::from_disk(store.disk());
        copy.fail_next(when, error.clone());
        assert_eq!(copy.append(&Chain::new(1).step(*b"x")), Err(error.clone()));
        assert_eq!(copy.tail(Position(0), 10), Err(error.clone()), "a broken handle answers");
        let reopened = ModelStore::from_disk(copy.disk());
        assert_eq!(reopened.tail(Position(0), 10).unwrap().len(), durable);
    }
}

#[test]
fn a_busy_store_takes_the_group_later() {
    let store = ModelStore::new();
    let busy = StoreError::Busy { code: Code::StoreFull, message: "full".to_owned() };
    store.fail_next(When::Before, busy.clone());
    let group = Chain::new(1).step(*b"x");
    assert_eq!(store.append(&group), Err(busy));
    store.append(&group).unwrap();
}
