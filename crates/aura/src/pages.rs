//! The pages of `docs/errors/`, carried in the binary so that help is there when nothing else is.

use aura_core::error::Code;

use crate::output::Tone;

/// The page of a code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// What the code means, in a line.
    pub(crate) title: &'static str,
    /// The page, Markdown.
    pub(crate) text: &'static str,
}

macro_rules! pages {
    ($($variant:ident = $name:literal,)*) => {
        /// The text of a code's page. A code without a page does not compile.
        fn text(code: Code) -> &'static str {
            match code {
                $(Code::$variant => include_str!(concat!("../../../docs/errors/", $name, ".md")),)*
            }
        }
    };
}

pages! {
    RateLimit = "RATE_LIMIT",
    Timeout = "TIMEOUT",
    NetworkError = "NETWORK_ERROR",
    AuthExpired = "AUTH_EXPIRED",
    InvalidInput = "INVALID_INPUT",
    NotFound = "NOT_FOUND",
    Conflict = "CONFLICT",
    Unavailable = "UNAVAILABLE",
    Internal = "INTERNAL",
    Forbidden = "FORBIDDEN",
    VerificationFailed = "VERIFICATION_FAILED",
    ApprovalDenied = "APPROVAL_DENIED",
    ApprovalExpired = "APPROVAL_EXPIRED",
    ApprovalMismatch = "APPROVAL_MISMATCH",
    BudgetExceeded = "BUDGET_EXCEEDED",
    Deadline = "DEADLINE",
    WaitTimeout = "WAIT_TIMEOUT",
    InDoubt = "IN_DOUBT",
    SettledFailed = "SETTLED_FAILED",
    NonDeterminism = "NON_DETERMINISM",
    LimitExceeded = "LIMIT_EXCEEDED",
    SecretMissing = "SECRET_MISSING",
    Cancelled = "CANCELLED",
    FlowInvalid = "FLOW_INVALID",
    Usage = "USAGE",
    RunNotFound = "RUN_NOT_FOUND",
    AmbiguousId = "AMBIGUOUS_ID",
    RunClosed = "RUN_CLOSED",
    NotWaiting = "NOT_WAITING",
    KeyConflict = "KEY_CONFLICT",
    TooManySignals = "TOO_MANY_SIGNALS",
    RunParked = "RUN_PARKED",
    RunRestored = "RUN_RESTORED",
    CannotFork = "CANNOT_FORK",
    FunctionMissing = "FUNCTION_MISSING",
    ReplayDiffers = "REPLAY_DIFFERS",
    StoreOwned = "STORE_OWNED",
    StoreNewer = "STORE_NEWER",
    StoreFormat = "STORE_FORMAT",
    StoreReadOnly = "STORE_READ_ONLY",
    StoreFull = "STORE_FULL",
    StoreCorrupt = "STORE_CORRUPT",
    ChainBroken = "CHAIN_BROKEN",
    BlobMissing = "BLOB_MISSING",
    BlobCorrupt = "BLOB_CORRUPT",
    StoreUnavailable = "STORE_UNAVAILABLE",
    Busy = "BUSY",
}

/// The page of a code.
pub(crate) fn of(code: Code) -> Page {
    let text = text(code);
    let first = text.lines().next().unwrap_or_default();
    let title = first.split_once(" — ").map_or(first, |(_, title)| title);
    Page { title, text }
}

/// A page as it is shown: headings and commands stand out where there are colours.
pub(crate) fn show(page: Page, paint: impl Fn(Tone, &str) -> String) -> String {
    let mut out = String::new();
    for line in page.text.lines() {
        let heading = line.trim_start_matches('#');
        if heading.len() < line.len() {
            out.push_str(&paint(Tone::Strong, heading.trim_start()));
        } else {
            for (place, part) in line.split('`').enumerate() {
                let code = place % 2 == 1;
                out.push_str(&if code { paint(Tone::Busy, part) } else { part.to_owned() });
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_of_the_same_form() {
        let sections = ["## What happened", "## What was kept", "## What to do", "## Example"];
        for code in Code::ALL {
            let Page { title, text } = of(*code);
            assert!(text.starts_with(&format!("# {code} — ")), "{code}: the first line");
            assert!(!title.is_empty() && !title.ends_with('.'), "{code}: {title}");
            let found: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(found, sections, "{code}");
            let lines = text.lines().count();
            assert!((8..=24).contains(&lines), "{code} has {lines} lines");
            // The fences of an example of several lines are no quotes.
            for line in text.lines().filter(|line| *line != "```") {
                assert_eq!(line.matches('`').count() % 2, 0, "{code}: a command is broken: {line}");
            }
        }
    }

    #[test]
    fn commands_and_headings_stand_out() {
        let page = Page { title: "t", text: "# A — t\n\ntype `aura x` now\n" };
        let shown = show(page, |tone, text| format!("<{tone:?} {text}>"));
        assert_eq!(shown, "<Strong A — t>\n\ntype <Busy aura x> now\n");
        assert_eq!(show(page, |_, text| text.to_owned()), "A — t\n\ntype aura x now\n");
    }
}
