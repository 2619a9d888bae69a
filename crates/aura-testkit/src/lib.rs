//! What tests are built from: the model of a store and the suites that every back end must pass.
//!
//! For `tests/` folders only. Nothing here runs in the binary.

pub mod conformance;
pub mod model_blobs;
pub mod model_store;
pub mod seed;
pub mod world;
