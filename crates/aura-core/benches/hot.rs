//! What every step pays in this crate: canonical JSON, hashes, and the stored form of a commit.

use aura_core::commit::{Cause, Header, StoredCommit};
use aura_core::data::Data;
use aura_core::event::{Event, EventBody, ToolCompleted};
use aura_core::{Hash, Millis, RunId, StepPath, TenantId, canonical};
use divan::{Bencher, black_box};
use serde_json::{Value, json};
use uuid::Uuid;

fn main() {
    divan::main();
}

/// A value as a tool gives it back: about 600 bytes of canonical text.
fn value() -> Value {
    let links: Vec<Value> =
        (0..10).map(|n| json!({ "url": format!("https://host/{n}"), "status": 200 })).collect();
    json!({ "title": "A page", "links": links, "words": 1_234, "score": 0.75, "ok": true })
}

fn events() -> Vec<Event> {
    let completed = ToolCompleted {
        call: Hash::of(b"call"),
        output: Data::from(value()),
        truncated: false,
        artifacts: Vec::new(),
    };
    let step = Some(StepPath::from("sections[3]/check#2"));
    vec![Event { step, attempt: Some(1), body: EventBody::ToolCompleted(completed) }]
}

fn sealed() -> StoredCommit {
    let header = Header {
        tenant: TenantId::LOCAL,
        run: RunId(Uuid::nil()),
        epoch: 1,
        seq: 1,
        count: 1,
        at: Millis(0),
        cause: Cause::Events,
        more: false,
    };
    StoredCommit::seal(Hash::ZERO, header, &events()).expect("a commit")
}

#[divan::bench]
fn canonical_json(bencher: Bencher<'_, '_>) {
    let value = value();
    bencher.bench(|| canonical::to_vec(black_box(&value)));
}

#[divan::bench(args = [64, 512, 65_536])]
fn hash(bencher: Bencher<'_, '_>, bytes: usize) {
    let bytes = vec![0x5a; bytes];
    bencher.bench(|| Hash::of(black_box(&bytes)));
}

#[divan::bench]
fn seal(bencher: Bencher<'_, '_>) {
    let (events, header) = (events(), sealed().header);
    bencher.bench(|| StoredCommit::seal(Hash::ZERO, header, black_box(&events)));
}

#[divan::bench]
fn read_events(bencher: Bencher<'_, '_>) {
    let commit = sealed();
    bencher.bench(|| black_box(&commit).events());
}
