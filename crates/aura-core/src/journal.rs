//! What a function may ask for, and what the log knows of it.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::canonical;
use crate::data::Data;
use crate::error::Failure;
use crate::hash::Hash;
use crate::path::StepPath;

/// What a function asks for: the only ways in which anything reaches it from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// The time.
    #[n(0)]
    Now,
    /// A random number.
    #[n(1)]
    Random,
    /// A random id.
    #[n(2)]
    Uuid,
    /// A pause.
    #[n(3)]
    Sleep {
        /// Milliseconds.
        #[n(0)]
        ms: u64,
    },
    /// A call of a tool.
    #[n(4)]
    Tool {
        /// Its name.
        #[n(0)]
        tool: String,
        /// The arguments.
        #[n(1)]
        args: Data,
    },
}

impl Asked {
    /// The word of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Random => "random",
            Self::Uuid => "uuid",
            Self::Sleep { .. } => "sleep",
            Self::Tool { .. } => "tool",
        }
    }

    /// SHA-256 over kind and arguments. Arguments must stand here, not in a blob: the hash is that of their value.
    pub fn hash(&self) -> Hash {
        let (name, args) = match self {
            Self::Now | Self::Random | Self::Uuid => (String::new(), Vec::new()),
            Self::Sleep { ms } => (String::new(), canonical::to_vec(&json!(ms))),
            Self::Tool { tool, args } => {
                (tool.clone(), canonical::to_vec(args.as_json().unwrap_or_default()))
            }
        };
        Hash::of_parts(&[self.kind().as_bytes(), name.as_bytes(), &args])
    }
}

/// Data of `journal.recorded`: a call of a function, and its answer where that is known at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct JournalRecorded {
    /// The number of the call within the step, from 1.
    #[n(0)]
    pub number: u64,
    /// What was asked for.
    #[n(1)]
    pub asked: Asked,
    /// Hash of what was asked for.
    #[n(2)]
    pub call: Hash,
    /// The answer; absent where the call is a task or a pause at `STEP[NUMBER]/call`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub answer: Option<Data>,
}

/// A call of a function, as the log has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What was asked for.
    pub asked: Asked,
    /// Hash of what was asked for.
    pub call: Hash,
    /// What came of it; `None` while it is open.
    pub answer: Option<Result<Data, Failure>>,
}

/// What the random answers of a call derive from.
pub fn draw(seed: Hash, step: &StepPath, number: u64) -> Hash {
    Hash::of_parts(&[&seed.0, step.as_str().as_bytes(), &number.to_be_bytes()])
}

/// A number in [0, 1) with 53 bits.
pub fn random(draw: Hash) -> f64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&draw.0[..8]);
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let number = (u64::from_be_bytes(bytes) >> 11) as f64;
    number / 9_007_199_254_740_992.0
}

/// A UUIDv4.
pub fn uuid(draw: Hash) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&draw.0[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
