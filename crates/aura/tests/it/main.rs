//! The real binary, from outside.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop where it stands")]

mod approvals;
mod backtest;
mod budgets;
mod carried;
mod children;
mod deploying;
mod diff;
mod effects;
mod examples;
mod faults;
mod flows;
mod forks;
mod heartbeat;
mod help;
mod keeping;
mod killers;
mod large;
mod pausing;
mod people;
mod reading;
mod restoring;
mod reuse;
mod runs;
mod saga;
mod shown;
mod socket;
mod stepping;
mod support;
