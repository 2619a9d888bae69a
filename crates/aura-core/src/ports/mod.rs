//! What the engine needs from the world. Each port has one conformance suite in `aura-testkit`.

mod activity;
mod blobs;
mod clock;
mod secrets;
mod store;

pub use activity::{Activity, Call, Failed};
pub use blobs::{BlobError, Blobs};
pub use clock::Clock;
pub use secrets::Secrets;
pub use store::{
    Appended, Group, Health, KeyRow, KeyState, Mark, Position, RunQuery, RunRow, RunStatus, Store,
    StoreError, StoreInfo,
};
