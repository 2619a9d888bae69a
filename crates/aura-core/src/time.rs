//! Time as the log keeps it: whole milliseconds since 1970-01-01T00:00:00Z.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds UTC since the Unix epoch.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    Encode,
    Decode,
)]
#[serde(transparent)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] pub i64);

impl Millis {
    /// This point moved later by `span_ms` milliseconds, never past the end of time.
    pub fn plus(self, span_ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(span_ms).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this point; 0 if it is not later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a duration: write a whole number and a unit, such as 250ms, 5s, 10m, 24h or 7d"
)]
pub struct NotADuration(pub String);

/// Milliseconds of a duration written as `250ms`, `5s`, `10m`, `24h` or `7d`.
///
/// # Errors
/// Anything else, and spans above [`crate::limits::DURATION_MAX_MS`].
pub fn parse_duration(text: &str) -> Result<u64, NotADuration> {
    let wrong = || NotADuration(text.chars().take(40).collect());
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let span = number.checked_mul(unit).ok_or_else(wrong)?;
    if span > crate::limits::DURATION_MAX_MS {
        return Err(wrong());
    }
    Ok(span)
}

/// A span as a person reads it: `850 ms`, `4.2 s`, `3 m 05 s`, `2 h 10 m`, `3 d 4 h`.
#[derive(Debug, Clone, Copy)]
pub struct Span(
    /// Milliseconds.
    pub u64,
);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        match ms {
            0..1_000 => write!(f, "{ms} ms"),
            1_000..60_000 => write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100),
            60_000..3_600_000 => write!(f, "{} m {:02} s", ms / 60_000, ms / 1_000 % 60),
            3_600_000..86_400_000 => write!(f, "{} h {:02} m", ms / 3_600_000, ms / 60_000 % 60),
            _ => write!(f, "{} d {} h", ms / 86_400_000, ms / 3_600_000 % 24),
        }
    }
}
