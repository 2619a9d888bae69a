//! "Did you mean": the known word nearest to one that was typed.

/// The word nearest to `typed`, if any is near.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    let near = |word: &str| strsim::jaro_winkler(&typed, &word.to_ascii_lowercase());
    let scored = known.into_iter().map(|word| (near(word), word));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    // Below this two words merely share some letters.
    (best.0 > 0.75).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_near_words_are_offered() {
        let words = ["store_owned", "timeout", "step.failed"];
        assert_eq!(nearest("STORE_OWND", words), Some("store_owned"));
        assert_eq!(nearest("step.faild", words), Some("step.failed"));
        assert_eq!(nearest("xyz", words), None);
    }
}
