//! The crate from outside.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod definition;
mod kernel;
