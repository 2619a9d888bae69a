//! What the engine needs from the world. Each port has one conformance suite in `aura-testkit`.

mod activity;
mod blobs;
mod clock;
mod compaction;
mod secrets;
mod store;

pub use activity::{Activity, Call, Failed, Heart};
pub use blobs::{BlobError, Blobs};
pub use clock::Clock;
pub use compaction::{Compacted, Compaction, Ended, Retention};
pub use secrets::Secrets;
pub use store::{
    Appended, Group, Health, KeyRow, KeyState, Mark, Position, RunQuery, RunRow, RunStatus,
    Snapshot, Store, StoreError, StoreInfo,
};
