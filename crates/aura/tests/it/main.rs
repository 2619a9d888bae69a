//! The real binary, from outside.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop where it stands")]

mod effects;
mod examples;
mod faults;
mod flows;
mod help;
mod killers;
mod large;
mod people;
mod reading;
mod reuse;
mod runs;
mod shown;
mod socket;
mod support;
