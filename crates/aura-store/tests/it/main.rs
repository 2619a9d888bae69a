//! The store in a data directory: the suites of its ports, who may open it, and what damage and want of room do.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod conformance;
mod damage;
mod full;
mod open;
mod support;
mod writing;
