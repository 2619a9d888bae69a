//! The decisions of Aura, pure: what a flow file means, what a history adds up to, and what happens next.
//!
//! Nothing in this crate does I/O, reads a clock, draws a random number or waits. `fold(state, event)` rebuilds a
//! run from its events alone; `decide(state, flow, input)` says what an input leads to.
#![deny(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod backtest;
pub mod compare;
pub mod decide;
pub mod definition;
pub mod expr;
pub mod flags;
pub mod replay;
pub mod retry;
pub mod state;
pub mod val;

pub use decide::{Decision, Turn, World, decide};
pub use definition::Flow;
pub use state::Run;
