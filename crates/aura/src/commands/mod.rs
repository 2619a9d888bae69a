//! The commands, one file each: its arguments, and what it does.
#![expect(clippy::needless_pass_by_value, reason = "a command takes its arguments whole")]

pub(crate) mod approvals;
pub(crate) mod approve;
pub(crate) mod backtest;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod deny;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod effects;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod flows;
pub(crate) mod fork;
pub(crate) mod new;
pub(crate) mod open;
pub(crate) mod owner;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod replay;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod settle;
pub(crate) mod show;
pub(crate) mod signal;
pub(crate) mod state;
pub(crate) mod store;
pub(crate) mod test;
pub(crate) mod tools;
pub(crate) mod validate;
pub(crate) mod version;
mod watch;
pub(crate) mod why;
