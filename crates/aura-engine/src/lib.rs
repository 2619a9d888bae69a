//! The engine: one loop per shard that turns inputs into commits and commits into work.
//!
//! Knows ports only: which store, which tools and which clock is decided in the binary. Never decides anything
//! about a run by itself: that is `aura-graph`.

mod backtest;
mod cache;
mod catalog;
pub mod code;
mod commit;
mod diff;
mod engine;
mod fork;
mod history;
mod journal;
mod keys;
mod message;
mod perform;
mod recovery;
mod scrub;
mod shard;
mod slots;
mod snapshots;
mod start;
mod stream;
mod tree;
mod turns;

pub use backtest::{PureCalls, backtest};
pub use cache::BlobCache;
pub use catalog::Catalog;
pub use commit::{Committer, Unit, Writer};
pub use diff::{Compared, compare};
pub use engine::{Bell, Engine, Handle, Options, Ports};
pub use fork::{At, Cut, Recording, cut, shared};
pub use history::{History, Verified, Verifier, compile, load_flow, open_history, read_all};
pub use keys::{Trail, goes_before};
pub use message::{
    Accepted, Answered, Asking, ForkRun, Message, Recovered, Reply, StartRun, Submission, Submitted,
};
pub use perform::{Fetcher, Performer, TokioFetcher, TokioPerformer};
pub use shard::{Progress, Shard, ShardPorts};
pub use snapshots::{SnapshotWriter, Snapshots, Wanted};
