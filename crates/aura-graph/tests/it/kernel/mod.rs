//! What inputs lead to: flows driven by hand, without an engine, shown as the lines of their history.

mod bench;
mod doubt;
mod order;
mod people;
mod probes;
mod properties;
mod reuse;
mod stopping;
