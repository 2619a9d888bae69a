//! Behaviour of the engine, seen from outside.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod flows;
mod heartbeat;
mod shard;
mod simulation;
mod snapshots;
mod trees;
