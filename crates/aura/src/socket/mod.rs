//! The owner's socket: how other processes of the same user hand it what they want done.
//!
//! One JSON line per request and one per answer. Reading goes to the store itself, never through here.

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod server;
