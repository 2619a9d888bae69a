//! How an activity marks the world, which decides what may be done when its outcome is in doubt.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The declared class of an effect.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum EffectClass {
    /// Nothing outside, no cost. In doubt: runs again; no intent is recorded.
    #[n(0)]
    Pure,
    /// Looks, leaves no mark. In doubt: runs again.
    #[n(1)]
    Read,
    /// The same key gives the same single effect. In doubt: runs again with the same key.
    #[n(2)]
    Idempotent,
    /// Somebody can look whether it happened. In doubt: a probe looks; where it can't tell, it parks.
    #[n(4)]
    Reconcilable,
    /// Anything else. In doubt: parks until a person says what happened.
    #[n(3)]
    Irreversible,
}

impl EffectClass {
    /// Whether an attempt in doubt may be tried again without asking anybody.
    pub fn repeatable(self) -> bool {
        !matches!(self, Self::Reconcilable | Self::Irreversible)
    }

    /// Whether work in flight may simply be dropped, because nothing outside depends on it.
    pub fn abandonable(self) -> bool {
        matches!(self, Self::Pure | Self::Read)
    }

    /// The word in flow files and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Reconcilable => "reconcilable",
            Self::Irreversible => "irreversible",
        }
    }
}

impl fmt::Display for EffectClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
