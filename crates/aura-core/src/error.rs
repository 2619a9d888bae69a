//! What went wrong, in a form that flows, programs and people can act on.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// Every error code; `aura explain CODE` prints its page from `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of this file.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name of the code.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

codes! {
    /// The other side asks to slow down; certain not to have acted.
    RateLimit = "RATE_LIMIT";
    /// No answer in time.
    Timeout = "TIMEOUT";
    /// The connection could not be made, or was lost.
    NetworkError = "NETWORK_ERROR";
    /// Credentials are missing, wrong or expired.
    AuthExpired = "AUTH_EXPIRED";
    /// Arguments, values or references are not what is needed.
    InvalidInput = "INVALID_INPUT";
    /// What was asked for is not there.
    NotFound = "NOT_FOUND";
    /// The state of the other side does not allow it.
    Conflict = "CONFLICT";
    /// The other side can't serve at the moment.
    Unavailable = "UNAVAILABLE";
    /// A fault that nobody foresaw.
    Internal = "INTERNAL";
    /// A file root, network address or rule does not allow it.
    Forbidden = "FORBIDDEN";
    /// A verification scored below its minimum or broke its schema.
    VerificationFailed = "VERIFICATION_FAILED";
    /// A person said no.
    ApprovalDenied = "APPROVAL_DENIED";
    /// Nobody answered an approval in time.
    ApprovalExpired = "APPROVAL_EXPIRED";
    /// The action is not the one that was approved.
    ApprovalMismatch = "APPROVAL_MISMATCH";
    /// The run's budget is used up.
    BudgetExceeded = "BUDGET_EXCEEDED";
    /// A node did not end within its deadline.
    Deadline = "DEADLINE";
    /// No signal came before the wait's timeout.
    WaitTimeout = "WAIT_TIMEOUT";
    /// It is not known whether an effect happened.
    InDoubt = "IN_DOUBT";
    /// A person says that an effect did not happen.
    SettledFailed = "SETTLED_FAILED";
    /// A function asked for something else than what its journal has.
    NonDeterminism = "NON_DETERMINISM";
    /// A named limit was crossed.
    LimitExceeded = "LIMIT_EXCEEDED";
    /// A secret is not set.
    SecretMissing = "SECRET_MISSING";
    /// The run was cancelled.
    Cancelled = "CANCELLED";
    /// A flow file has problems.
    FlowInvalid = "FLOW_INVALID";
    /// The command line asks for something that can't be done.
    Usage = "USAGE";
    /// No run has this id.
    RunNotFound = "RUN_NOT_FOUND";
    /// An id prefix fits several runs.
    AmbiguousId = "AMBIGUOUS_ID";
    /// The run has ended.
    RunClosed = "RUN_CLOSED";
    /// The run is not waiting for this.
    NotWaiting = "NOT_WAITING";
    /// The key is in use for another input.
    KeyConflict = "KEY_CONFLICT";
    /// Too many signals are waiting to be taken.
    TooManySignals = "TOO_MANY_SIGNALS";
    /// A stream is set aside because deciding it failed.
    RunParked = "RUN_PARKED";
    /// The run comes from a copy, and nobody said that it may go on.
    RunRestored = "RUN_RESTORED";
    /// A run can't be forked there, or not so.
    CannotFork = "CANNOT_FORK";
    /// The flow runs a function that this program has not got.
    FunctionMissing = "FUNCTION_MISSING";
    /// The run's history does not fit this build's behaviour.
    ReplayDiffers = "REPLAY_DIFFERS";
    /// Another process owns the store.
    StoreOwned = "STORE_OWNED";
    /// The store was written by a newer build.
    StoreNewer = "STORE_NEWER";
    /// The store's format is one that this build does not read.
    StoreFormat = "STORE_FORMAT";
    /// The data directory or its files can't be written.
    StoreReadOnly = "STORE_READ_ONLY";
    /// No room is left where the store lies.
    StoreFull = "STORE_FULL";
    /// The store file is damaged.
    StoreCorrupt = "STORE_CORRUPT";
    /// A commit is not the one that its chain says.
    ChainBroken = "CHAIN_BROKEN";
    /// A blob is missing.
    BlobMissing = "BLOB_MISSING";
    /// A blob's bytes are not those of its address.
    BlobCorrupt = "BLOB_CORRUPT";
    /// The store can't be reached.
    StoreUnavailable = "STORE_UNAVAILABLE";
    /// Too much is waiting to be made durable.
    Busy = "BUSY";
}

impl Code {
    /// Whether trying the same thing again may help, when it is certain that nothing happened.
    pub fn retryable(self) -> bool {
        matches!(self, Self::RateLimit | Self::Timeout | Self::NetworkError | Self::Unavailable)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No code has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no error code is named '{0}'")]
pub struct UnknownCode(pub String);

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let wanted = text.trim().to_ascii_uppercase().replace('-', "_");
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == wanted)
            .ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

/// Why a step, or one attempt of it, failed; flows see it as `steps.X.error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// The category.
    #[n(0)]
    pub code: Code,
    /// What happened, for a person; at most [`crate::limits::MESSAGE_BYTES`] bytes.
    #[n(1)]
    pub message: String,
    /// Whether it is certain that nothing outside was changed.
    #[n(2)]
    pub certain: bool,
    /// The attempt that failed, from 1; 0 where no attempt was made.
    #[serde(default)]
    #[n(3)]
    pub attempt: u32,
}

impl Failure {
    /// A failure that is certain not to have acted.
    pub fn certain(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: cut(message.into()), certain: true, attempt: 0 }
    }

    /// A failure after which it is not known whether the effect happened.
    pub fn in_doubt(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: cut(message.into()), certain: false, attempt: 0 }
    }

    /// The same failure of the given attempt.
    pub fn of_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }
}

fn cut(mut message: String) -> String {
    if message.len() > crate::limits::MESSAGE_BYTES {
        let end = message.floor_char_boundary(crate::limits::MESSAGE_BYTES - 3);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// An error for the person or program at the edge: what happened, what was kept, what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{what}")]
pub struct Problem {
    /// The category; `aura explain` has its page.
    pub code: Code,
    /// What happened.
    pub what: String,
    /// What was kept or lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Problem {
    /// A problem of which only the code and the event are told.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), kept: None, next: None }
    }

    /// The same, saying what was kept.
    pub fn kept(mut self, kept: impl Into<String>) -> Self {
        self.kept = Some(kept.into());
        self
    }

    /// The same, saying what to do next.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}
