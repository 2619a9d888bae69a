//! What every [`Blobs`] must do.

use std::future::Future;

use aura_core::data::{BlobRef, blob_address};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::ports::{BlobError, Group};
use bytes::Bytes;

use super::Place;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime can be built").block_on(future)
}

/// Bytes that hardly compress.
fn noise(length: usize) -> Bytes {
    let mut block = Hash::of(b"noise");
    let mut bytes = Vec::with_capacity(length + 32);
    while bytes.len() < length {
        block = Hash::of(&block.0);
        bytes.extend_from_slice(&block.0);
    }
    bytes.truncate(length);
    bytes.into()
}

/// Small, large, empty, compressible or not.
pub fn what_is_put_is_got(place: &dyn Place) {
    let blobs = place.open().blobs;
    for bytes in [Bytes::new(), Bytes::from_static(b"x"), vec![7; 1 << 20].into(), noise(2 << 20)] {
        let blob = block_on(blobs.put(bytes.clone())).expect("put");
        assert_eq!(blob.bytes, bytes.len() as u64);
        assert_eq!(block_on(blobs.get(blob)).expect("get"), bytes);
    }
}

/// The address is that of the store's salt.
pub fn the_address_is_salted(place: &dyn Place) {
    let handles = place.open();
    let salt = handles.store.info().expect("info").salt;
    let blob = block_on(handles.blobs.put(Bytes::from_static(b"x"))).expect("put");
    assert_eq!(blob, blob_address(salt, b"x"));
    assert_ne!(blob.blob, Hash::of(b"x"));
}

/// The same bytes have one address.
pub fn putting_twice_is_putting_once(place: &dyn Place) {
    let blobs = place.open().blobs;
    let first = block_on(blobs.put(noise(100_000))).expect("put");
    let second = block_on(blobs.put(noise(100_000))).expect("put again");
    assert_eq!(first, second);
    assert_eq!(block_on(blobs.get(first)).expect("get"), noise(100_000));
}

/// Puts of the same bytes do not hinder each other.
pub fn many_may_put_the_same_at_once(place: &dyn Place) {
    let blobs = place.open().blobs;
    let stored = block_on(async {
        let puts: Vec<_> = (0..16)
            .map(|_| {
                let blobs = blobs.clone();
                tokio::spawn(async move { blobs.put(noise(200_000)).await })
            })
            .collect();
        let mut stored = Vec::new();
        for put in puts {
            stored.push(put.await.expect("no panic").expect("put"));
        }
        stored
    });
    assert!(stored.iter().all(|blob| *blob == stored[0]));
    assert_eq!(block_on(blobs.get(stored[0])).expect("get"), noise(200_000));
}

/// It is missing, not damaged.
pub fn a_blob_that_nobody_put_is_missing(place: &dyn Place) {
    let blobs = place.open().blobs;
    let blob = BlobRef { blob: Hash::of(b"nobody"), bytes: 3 };
    assert_eq!(block_on(blobs.get(blob)), Err(BlobError::Missing(blob.blob)));
}

/// An address with another length is not that blob's.
pub fn the_length_belongs_to_the_address(place: &dyn Place) {
    let blobs = place.open().blobs;
    let blob = block_on(blobs.put(noise(1_000))).expect("put");
    for bytes in [0, 999, 1_001, u64::MAX] {
        let wrong = BlobRef { bytes, ..blob };
        assert_eq!(block_on(blobs.get(wrong)), Err(BlobError::Corrupt(blob.blob)), "{bytes}");
    }
}

/// What came with a group is found like any other blob.
pub fn blobs_of_the_table_are_found_too(place: &dyn Place) {
    let handles = place.open();
    let salt = handles.store.info().expect("info").salt;
    let bytes = noise(5_000);
    let blob = blob_address(salt, &bytes);
    let group = Group { blobs: vec![(blob.blob, bytes.clone())], ..Group::default() };
    handles.store.append(&group).expect("append");
    assert_eq!(block_on(handles.blobs.get(blob)).expect("get"), bytes);
    let wrong = BlobRef { bytes: 4_999, ..blob };
    assert_eq!(block_on(handles.blobs.get(wrong)), Err(BlobError::Corrupt(blob.blob)));
}

/// There is a limit.
pub fn too_large_a_blob_is_refused(place: &dyn Place) {
    let blobs = place.open().blobs;
    let put = block_on(blobs.put(vec![0; limits::BLOB_BYTES + 1].into()));
    assert!(matches!(put, Err(BlobError::Full(_))), "{put:?}");
}

/// Durable means durable.
pub fn blobs_are_there_after_reopening(place: &dyn Place) {
    let blob = {
        let blobs = place.open().blobs;
        block_on(blobs.put(noise(70_000))).expect("put")
    };
    let blobs = place.open().blobs;
    assert_eq!(block_on(blobs.get(blob)).expect("get"), noise(70_000));
}
