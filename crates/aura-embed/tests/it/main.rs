//! Programs with Aura in them: killed in the middle, changed, replayed.
#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

#[path = "../../../../examples/embedded/quote.rs"]
mod quote;

mod changed;
mod killed;
mod shop;
