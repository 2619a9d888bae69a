//! The arithmetic of waits between attempts.

use aura_core::hash::Hash;
use aura_core::path::StepPath;
use aura_core::task::Retry;

/// The longest wait that another side may ask for (24 hours).
const LONGEST_ASKED_MS: u64 = 86_400_000;

/// Share of a wait by which jitter may move it, to either side.
const JITTER: f64 = 0.1;

/// Milliseconds from the end of attempt `attempt` (from 1) to the next one.
///
/// `initial × factor^(attempt-1)`, at most `max`, moved by up to a tenth by a draw from SHA-256(seed, step,
/// attempt), and never less than what the other side asked for (`Retry-After`, at most 24 hours).
pub fn wait_ms(
    seed: Hash,
    step: &StepPath,
    attempt: u32,
    retry: &Retry,
    asked_ms: Option<u64>,
) -> u64 {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    #[expect(clippy::cast_precision_loss, reason = "waits are far below 2^53 ms")]
    let wait = (retry.initial_ms as f64 * retry.factor.powi(exponent)).min(retry.max_ms as f64);
    let jittered = wait * (1.0 + JITTER * (2.0 * draw(seed, step, attempt) - 1.0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded, not negative, and saturating"
    )]
    let own = jittered.round().max(0.0) as u64;
    own.max(asked_ms.unwrap_or(0).min(LONGEST_ASKED_MS))
}

/// A number in [0, 1) that only run, step and attempt determine.
fn draw(seed: Hash, step: &StepPath, attempt: u32) -> f64 {
    let hash = Hash::of_parts(&[&seed.0, step.as_str().as_bytes(), &attempt.to_be_bytes()]);
    let mut top = [0; 4];
    top.copy_from_slice(&hash.0[..4]);
    f64::from(u32::from_be_bytes(top)) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(retry: &Retry, asked: Option<u64>) -> Vec<u64> {
        (1..6).map(|n| wait_ms(Hash::of(b"seed"), &StepPath::from("a"), n, retry, asked)).collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_within_a_tenth() {
        for (wait, nominal) in waits(&Retry::default(), None).into_iter().zip([2, 4, 8, 16, 16]) {
            let nominal = nominal * 1_000;
            assert!(wait >= nominal * 9 / 10 && wait <= nominal * 11 / 10, "{wait} for {nominal}");
        }
    }

    #[test]
    fn the_same_step_waits_the_same_and_another_does_not() {
        let retry = Retry::default();
        assert_eq!(waits(&retry, None), waits(&retry, None));
        let other = wait_ms(Hash::of(b"seed"), &StepPath::from("b"), 1, &retry, None);
        assert_ne!(waits(&retry, None)[0], other);
    }

    #[test]
    fn what_the_other_side_asks_for_is_obeyed_up_to_a_day() {
        assert_eq!(waits(&Retry::default(), Some(60_000))[0], 60_000);
        assert_eq!(waits(&Retry::default(), Some(u64::MAX))[0], LONGEST_ASKED_MS);
    }
}
