//! Exit codes: what a script can tell without reading a word.

use std::process::ExitCode;

use aura_core::Code;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// The run failed or was cancelled, or what was checked does not hold.
    Failed,
    /// Wrong usage, or an invalid flow or input.
    Usage,
    /// The run waits for a person or a signal; the command to type was printed.
    Waiting,
    /// The store can't be used.
    Unavailable,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Waiting => 3,
            Self::Unavailable => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// The exit of a command that ended with a problem of this code.
pub(crate) fn of(code: Code) -> Exit {
    match code {
        Code::Usage
        | Code::FlowInvalid
        | Code::InvalidInput
        | Code::NotFound
        | Code::Conflict
        | Code::Forbidden
        | Code::LimitExceeded
        | Code::SecretMissing
        | Code::RunNotFound
        | Code::AmbiguousId
        | Code::RunClosed
        | Code::NotWaiting
        | Code::RunRestored
        | Code::FunctionMissing
        | Code::KeyConflict
        | Code::TooManySignals
        | Code::CannotFork
        | Code::ApprovalMismatch => Exit::Usage,
        Code::StoreOwned
        | Code::StoreNewer
        | Code::StoreFormat
        | Code::StoreReadOnly
        | Code::StoreFull
        | Code::StoreCorrupt
        | Code::StoreUnavailable
        | Code::Busy => Exit::Unavailable,
        Code::RateLimit
        | Code::Timeout
        | Code::NetworkError
        | Code::AuthExpired
        | Code::Unavailable
        | Code::Internal
        | Code::VerificationFailed
        | Code::ApprovalDenied
        | Code::ApprovalExpired
        | Code::BudgetExceeded
        | Code::Deadline
        | Code::WaitTimeout
        | Code::InDoubt
        | Code::SettledFailed
        | Code::Cancelled
        | Code::NonDeterminism
        | Code::RunParked
        | Code::ReplayDiffers
        | Code::ChainBroken
        | Code::BlobMissing
        | Code::BlobCorrupt => Exit::Failed,
    }
}
