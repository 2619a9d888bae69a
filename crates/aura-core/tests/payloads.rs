//! Payloads: what is written comes back, and bytes of a stranger are answered.

use aura_core::cbor::blob_references;
use aura_core::commit::{Cause, Header, StoredCommit};
use aura_core::data::{BlobRef, Data};
use aura_core::event::{Event, EventBody, FlowPin, SignalReceived};
use aura_core::fork::{ForkEffects, RunForked};
use aura_core::{Hash, Millis, RunId, StepPath, TenantId};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("no such number", |f| f.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn signal(payload: Data) -> Event {
    let (id, name, actor) = ("1".to_owned(), "go".to_owned(), "somebody".to_owned());
    let body = EventBody::SignalReceived(SignalReceived { id, name, payload, actor });
    Event { step: Some(StepPath::from("a[3]/b#2")), attempt: Some(7), body }
}

fn sealed(events: &[Event]) -> StoredCommit {
    let header = Header {
        tenant: TenantId::LOCAL,
        run: RunId(Uuid::nil()),
        epoch: 1,
        seq: 1,
        count: u32::try_from(events.len()).expect("few events"),
        at: Millis(5),
        cause: Cause::Events,
        more: false,
    };
    StoredCommit::seal(Hash::ZERO, header, events).expect("a commit")
}

proptest! {
    #[test]
    fn any_value_comes_back_as_it_was(value in value()) {
        let events = vec![signal(Data::from(value))];
        prop_assert_eq!(sealed(&events).events().unwrap(), events);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..200) {
        let mut commit = sealed(&[signal(Data::null())]);
        let at = at.min(commit.payload.len());
        commit.payload.splice(at.., bytes);
        let _ = commit.events();
        blob_references(&commit.payload, &mut Vec::new());
    }
}

#[test]
fn deep_bytes_do_not_exhaust_the_stack() {
    let mut commit = sealed(&[signal(Data::null())]);
    // Arrays of one within each other, in the place of the signal's payload.
    commit.payload.truncate(commit.payload.len() - 12);
    commit.payload.extend(std::iter::repeat_n(0x81, 1_000_000));
    assert!(commit.events().is_err());
    blob_references(&commit.payload, &mut Vec::new());
}

fn forked(then: Vec<Event>) -> Event {
    let blob = BlobRef { blob: Hash::ZERO, bytes: 1 };
    let (name, hash) = ("f".to_owned(), Hash::ZERO);
    let flow = FlowPin { name, version: None, hash, bundle: blob, file: None };
    let body = EventBody::RunForked(Box::new(RunForked {
        parent: RunId(Uuid::nil()),
        seq: 3,
        hash: Hash::ZERO,
        flow,
        seed: Hash::ZERO,
        effects: ForkEffects::Mock,
        mocks: Some(Data::null()),
        changes: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        actor: "me".to_owned(),
        then,
        open: Vec::new(),
        budget: None,
        state: Hash::ZERO,
    }));
    Event { step: None, attempt: None, body }
}

#[test]
fn a_fork_comes_back_with_the_input_that_it_took_over() {
    let events = vec![forked(vec![signal(Data::null())])];
    assert_eq!(sealed(&events).events().unwrap(), events);
    let nested = forked(vec![forked(Vec::new())]);
    assert!(sealed(&[nested]).events().is_err(), "forks do not nest");
}

#[test]
fn references_are_found_and_values_that_look_like_them_are_not() {
    let blob = BlobRef { blob: Hash::of(b"blob"), bytes: 70_000 };
    let looks = Data::from(serde_json::json!({ "blob": blob, "tag": [0xB10B] }));
    let commit = sealed(&[signal(looks), signal(Data::Blob(blob)), signal(Data::null())]);
    let mut found = Vec::new();
    blob_references(&commit.payload, &mut found);
    assert_eq!(found, [blob]);
}
