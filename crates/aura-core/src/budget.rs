//! Budgets: what a run, or the steps within one of its steps, may use up, in whole numbers. Money is counted in
//! micro-dollars, millionths of a dollar, and no sum ever passes through a floating-point number.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::path::StepPath;
use crate::time::Span;

/// Something that a run uses up.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Resource {
    /// Money, in micro-dollars.
    #[n(0)]
    Usd,
    /// Tokens of models.
    #[n(1)]
    Tokens,
    /// Nodes that started.
    #[n(2)]
    Steps,
    /// Intents of effects.
    #[n(3)]
    ToolCalls,
    /// Time since the budget began, in milliseconds.
    #[n(4)]
    Duration,
}

impl Resource {
    /// Every resource, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Usd, Self::Tokens, Self::Steps, Self::ToolCalls, Self::Duration];

    /// The key of flow files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Steps => "steps",
            Self::ToolCalls => "tool_calls",
            Self::Duration => "duration",
        }
    }

    /// The resource of a key of flow files.
    pub fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.as_str() == key)
    }

    /// An amount of it, as a person reads it.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Usd => format!("${}", decimal(amount)),
            Self::Duration => Span(amount).to_string(),
            Self::Tokens | Self::Steps | Self::ToolCalls => amount.to_string(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Amounts of what is counted; time is measured instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(default)]
pub struct Amounts {
    /// Micro-dollars.
    #[serde(skip_serializing_if = "is_zero")]
    #[n(0)]
    pub usd_micros: u64,
    /// Tokens.
    #[serde(skip_serializing_if = "is_zero")]
    #[n(1)]
    pub tokens: u64,
    /// Steps.
    #[serde(skip_serializing_if = "is_zero")]
    #[n(2)]
    pub steps: u64,
    /// Intents.
    #[serde(skip_serializing_if = "is_zero")]
    #[n(3)]
    pub tool_calls: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

impl Amounts {
    /// The amount of one resource; none of time.
    pub fn of(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Usd => self.usd_micros,
            Resource::Tokens => self.tokens,
            Resource::Steps => self.steps,
            Resource::ToolCalls => self.tool_calls,
            Resource::Duration => 0,
        }
    }

    /// Both together; what would pass the largest number stays there.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What is left without `other`, at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    fn with(self, other: Self, each: fn(u64, u64) -> u64) -> Self {
        Self {
            usd_micros: each(self.usd_micros, other.usd_micros),
            tokens: each(self.tokens, other.tokens),
            steps: each(self.steps, other.steps),
            tool_calls: each(self.tool_calls, other.tool_calls),
        }
    }

    /// Whether there is nothing of anything.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// How much of each resource may be used; absent where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(default)]
pub struct Limits {
    /// Micro-dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(0)]
    pub usd_micros: Option<u64>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(1)]
    pub tokens: Option<u64>,
    /// Steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(2)]
    pub steps: Option<u64>,
    /// Intents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(3)]
    pub tool_calls: Option<u64>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[n(4)]
    pub duration_ms: Option<u64>,
}

impl Limits {
    /// The limit of one resource.
    pub fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Usd => self.usd_micros,
            Resource::Tokens => self.tokens,
            Resource::Steps => self.steps,
            Resource::ToolCalls => self.tool_calls,
            Resource::Duration => self.duration_ms,
        }
    }

    /// The place of the limit of one resource.
    pub fn of_mut(&mut self, resource: Resource) -> &mut Option<u64> {
        match resource {
            Resource::Usd => &mut self.usd_micros,
            Resource::Tokens => &mut self.tokens,
            Resource::Steps => &mut self.steps,
            Resource::ToolCalls => &mut self.tool_calls,
            Resource::Duration => &mut self.duration_ms,
        }
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is left of each limit when so much was used.
    #[must_use]
    pub fn without(mut self, used: &Amounts) -> Self {
        for resource in Resource::ALL {
            let limit = self.of_mut(resource);
            *limit = limit.map(|limit| limit.saturating_sub(used.of(resource)));
        }
        self
    }

    /// The limits as amounts; nothing where there is no limit.
    pub fn amounts(&self) -> Amounts {
        Amounts {
            usd_micros: self.usd_micros.unwrap_or_default(),
            tokens: self.tokens.unwrap_or_default(),
            steps: self.steps.unwrap_or_default(),
            tool_calls: self.tool_calls.unwrap_or_default(),
        }
    }

    /// The tighter of both, resource by resource.
    #[must_use]
    pub fn tightened(mut self, other: &Self) -> Self {
        for resource in Resource::ALL {
            let limit = self.of_mut(resource);
            *limit = match (*limit, other.of(resource)) {
                (Some(own), Some(other)) => Some(own.min(other)),
                (own, other) => own.or(other),
            };
        }
        self
    }
}

/// What may be used up, and what follows when a limit would be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Budget {
    /// The limits.
    #[n(0)]
    pub limits: Limits,
    /// Whether a person is asked for more; otherwise what would pass a limit fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[n(1)]
    pub ask: bool,
}

impl Budget {
    /// This budget with the limits of another where those are tighter, which then can't be widened by asking.
    #[must_use]
    pub fn tightened(self, other: &Limits) -> Self {
        let limits = self.limits.tightened(other);
        Self { limits, ask: self.ask && limits == self.limits }
    }
}

/// Data of `budget.reserved`: what the attempt that is about to be recorded, or the child that the step starts, may
/// use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct BudgetReserved {
    /// What is set aside for it.
    #[n(0)]
    pub amounts: Amounts,
}

/// Data of `budget.settled`: what a reservation was used for is known, or will never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct BudgetSettled {
    /// What was set aside.
    #[n(0)]
    pub reserved: Amounts,
    /// What was used; above `reserved` where the bound was none.
    #[n(1)]
    pub spent: Amounts,
}

/// Data of `budget.exceeded`: something would pass a limit, and is not done; or the time of a budget is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct BudgetExceeded {
    /// Whose budget it is: the step that has it, or the run itself (the empty path).
    #[n(0)]
    pub of: StepPath,
    /// What there is too little of.
    #[n(1)]
    pub resource: Resource,
    /// Its limit.
    #[n(2)]
    pub limit: u64,
    /// What was used of it.
    #[n(3)]
    pub spent: u64,
    /// What is reserved of it.
    #[n(4)]
    pub reserved: u64,
    /// What was asked for; 0 for time.
    #[n(5)]
    pub wanted: u64,
    /// What follows.
    #[n(6)]
    pub then: OnExceeded,
}

/// What follows when something would pass a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum OnExceeded {
    /// It fails.
    #[n(0)]
    Fail,
    /// A person is asked for more.
    #[n(1)]
    Ask,
}

/// More of a resource, as a person is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Raise {
    /// The resource.
    #[n(0)]
    pub resource: Resource,
    /// How much more.
    #[n(1)]
    pub by: u64,
}

/// Data of `budget.raised`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct BudgetRaised {
    /// The resource.
    #[n(0)]
    pub resource: Resource,
    /// Its new limit.
    #[n(1)]
    pub limit: u64,
}

/// Which way a number is rounded that is finer than a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Up: for what is used.
    Up,
    /// Down: for what may be used.
    Down,
}

/// Micro-dollars from a decimal number of dollars such as `0.5`, `12` or `2.5e-7`, exactly; `None` if it is no such
/// number, is below zero, or is above a billion dollars.
pub fn micros(text: &str, rounding: Rounding) -> Option<u64> {
    const LONGEST: usize = 64;
    let text = text.trim();
    if text.len() > LONGEST {
        return None;
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, part].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    // The value is `digits` × 10^places, in millionths.
    let places = exponent.checked_add(6)?.checked_sub(i32::try_from(part.len()).ok()?)?;
    let amount = if digits.is_empty() {
        0
    } else if places >= 0 {
        let zeros = usize::try_from(places).ok().filter(|zeros| *zeros <= 18)?;
        format!("{digits}{}", "0".repeat(zeros)).parse().ok()?
    } else {
        let cut = usize::try_from(places.unsigned_abs()).ok()?;
        let kept = digits.len().saturating_sub(cut);
        let above: u64 = if kept == 0 { 0 } else { digits[..kept].parse().ok()? };
        let more = digits[kept..].bytes().any(|byte| byte != b'0');
        above.checked_add(u64::from(more && rounding == Rounding::Up))?
    };
    (amount <= limits::BUDGET_AMOUNT).then_some(amount)
}

/// Dollars from micro-dollars: at least two places, and as many as there are.
fn decimal(micros: u64) -> String {
    let part = format!("{:06}", micros % 1_000_000);
    let part = part.trim_end_matches('0');
    format!("{}.{part:0<2}", micros / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly() {
        let cases = [
            ("0.5", Some(500_000)),
            ("0.1", Some(100_000)),
            ("12", Some(12_000_000)),
            ("0", Some(0)),
            ("0.000001", Some(1)),
            ("1e-6", Some(1)),
            ("2.5e-7", Some(1)),
            ("1.5E2", Some(150_000_000)),
            ("1000000000", Some(1_000_000_000_000_000)),
            ("1000000001", None),
            ("1e30", None),
            ("1e-30", Some(1)),
            ("-1", None),
            ("", None),
            (".", None),
            ("1,5", None),
            ("NaN", None),
        ];
        for (text, expected) in cases {
            assert_eq!(micros(text, Rounding::Up), expected, "{text}");
        }
        assert_eq!(micros("0.0000019", Rounding::Down), Some(1));
    }

    #[test]
    fn dollars_read_well() {
        let shown: Vec<_> =
            [0, 500_000, 1, 1_234_560, 12_000_000].map(|n| Resource::Usd.show(n)).into();
        assert_eq!(shown, ["$0.00", "$0.50", "$0.000001", "$1.23456", "$12.00"]);
    }

    #[test]
    fn the_tighter_limit_counts() {
        let own = Limits { usd_micros: Some(5), steps: Some(7), ..Limits::default() };
        let other = Limits { usd_micros: Some(9), tokens: Some(1), ..Limits::default() };
        let both = Limits { usd_micros: Some(5), tokens: Some(1), steps: Some(7), ..own };
        assert_eq!(own.tightened(&other), both);
    }
}
