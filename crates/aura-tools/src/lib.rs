//! What a step can call without anything else being installed: HTTP, files, text, JSON, hashing, verification.
//!
//! Each tool is one file in `builtin/` with typed input and output, from which its JSON Schemas are made. A tool
//! performs one attempt: it never retries, never decides what an outcome means for the run, and never sees the log.
#![deny(missing_docs)]

mod builtin;
mod files;
mod http;
mod pdf;
mod text;
mod typed;

pub use builtin::{Options, builtin, definitions};
pub use http::{Lookup, SystemLookup, is_net_entry};
