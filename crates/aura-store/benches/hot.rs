//! Appending: one commit and its sync, and groups as a busy shard hands them over. Run it where the disk is: the folder
//! is that of temporary files (`TMPDIR`).

use std::collections::BTreeMap;

use aura_core::commit::{Cause, Header, StoredCommit};
use aura_core::ports::{Group, Store};
use aura_core::{Hash, Millis, RunId, TenantId};
use aura_store::Access;
use divan::Bencher;
use uuid::Uuid;

/// Bytes of a payload: that of a no-op step.
const PAYLOAD: usize = 350;

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 16, 256, 1_024], sample_count = 30, sample_size = 1)]
fn append(bencher: Bencher<'_, '_>, commits: u128) {
    let dir = tempfile::tempdir().expect("a folder");
    let opened = aura_store::open(dir.path(), Access::Owner).expect("a store");
    let mut next: BTreeMap<RunId, u64> = BTreeMap::new();
    bencher
        .with_inputs(|| group(commits, &mut next))
        .bench_local_values(|group| opened.store.append(&group).expect("an append"));
}

/// One more commit of each of so many runs.
fn group(commits: u128, next: &mut BTreeMap<RunId, u64>) -> Group {
    let commits = (0..commits).map(|number| {
        let run = RunId(Uuid::from_u128(number));
        let seq = next.entry(run).or_insert(1);
        let header = Header {
            tenant: TenantId::LOCAL,
            run,
            epoch: 1,
            seq: *seq,
            count: 4,
            at: Millis(0),
            cause: Cause::Events,
            more: false,
        };
        *seq += 4;
        StoredCommit { header, payload: vec![0x5a; PAYLOAD], hash: Hash::ZERO }
    });
    Group { commits: commits.collect(), ..Group::default() }
}
