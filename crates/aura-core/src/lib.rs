//! The words of Aura and the ports between its parts.
//!
//! Everything here is plain data and plain traits: no clock, no randomness, no I/O. What a word means is
//! in `GLOSSARY.md`; what a stored format means is in `docs/formats.md`.
#![deny(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod budget;
pub mod canonical;
pub mod cbor;
pub mod child;
pub mod commit;
pub mod data;
pub mod effect;
pub mod error;
pub mod event;
pub mod fork;
pub mod hash;
pub mod id;
pub mod input;
pub mod journal;
pub mod limits;
pub mod path;
pub mod people;
pub mod ports;
pub mod saga;
pub mod schema;
pub mod task;
pub mod time;
pub mod tool;

pub use data::Data;
pub use effect::EffectClass;
pub use error::{Code, Failure};
pub use event::{Event, EventBody};
pub use hash::Hash;
pub use id::{RunId, TenantId};
pub use path::StepPath;
pub use time::Millis;
