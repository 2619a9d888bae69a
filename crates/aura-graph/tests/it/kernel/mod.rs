//! What inputs lead to: flows driven by hand, without an engine, shown as the lines of their history.

mod approvals;
mod bench;
mod budgets;
mod children;
mod code;
mod compare;
mod doubt;
mod forks;
mod handing;
mod heartbeat;
mod order;
mod pausing;
mod people;
mod probes;
mod properties;
mod reuse;
mod saga;
mod shares;
mod signals;
mod stopping;
