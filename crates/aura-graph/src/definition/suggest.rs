//! "Did you mean": the known word that a mistyped one most likely stands for.

/// The suggestion to print, if a candidate is near enough to `word`.
pub(super) fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    nearest(word, candidates).map(|near| format!("did you mean '{near}'?"))
}

/// The candidate nearest to `word`, if it is near enough.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // Comparing is quadratic in length; nobody mistypes a name of this size.
    if word.is_empty() || word.len() > 128 {
        return None;
    }
    let plain = plain(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len() > 128 {
            continue;
        }
        let other = self::plain(candidate);
        let prefixed = plain.len() >= 3
            && other.len() >= 3
            && (other.starts_with(&plain) || plain.starts_with(&other));
        if !prefixed && plain.len().abs_diff(other.len()) > 12 {
            continue;
        }
        let mut distance = strsim::osa_distance(&plain, &other);
        let longer = plain.chars().count().max(other.chars().count());
        if distance > allowed(longer) {
            // `url_list` for `url`: one stands at the start of the other.
            if !prefixed {
                continue;
            }
            distance = distance.max(allowed(longer) + 1);
        }
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn allowed(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    }
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

/// Words as a person lists them: `a`, `a or b`, `a, b or c`.
pub(super) fn one_of<S: AsRef<str>>(words: &[S]) -> String {
    let Some((last, rest)) = words.split_last() else { return "nothing".to_owned() };
    if rest.is_empty() {
        return last.as_ref().to_owned();
    }
    let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
    format!("{} or {}", rest.join(", "), last.as_ref())
}
