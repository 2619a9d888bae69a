//! Bare URLs in running text.

/// Calls `found` with each `http://` and `https://` URL in `text`, in order, without the punctuation around it.
pub(super) fn find<'a>(text: &'a str, mut found: impl FnMut(&'a str)) {
    let mut rest = text;
    let mut before = None;
    while let Some(at) = rest.find("http") {
        let head = rest[..at].chars().next_back().or(before);
        let url = &rest[at..];
        let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme));
        let Some(scheme) = scheme.filter(|_| !head.is_some_and(char::is_alphanumeric)) else {
            before = Some('p');
            rest = &url[4..];
            continue;
        };
        let end = url.find(ends).unwrap_or(url.len());
        let whole = trim(&url[..end]);
        if whole.len() > scheme.len() {
            found(whole);
        }
        before = url[..end].chars().next_back();
        rest = &url[end..];
    }
}

fn ends(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '<' | '>' | '"' | '`' | '{' | '}' | '|' | '\\' | '^')
}

/// Takes off what ends a sentence or closes a bracket that was opened before the URL.
fn trim(url: &str) -> &str {
    let mut url = url;
    let count = |text: &str, wanted: char| text.chars().filter(|&c| c == wanted).count();
    // Counted once, so that a text of brackets alone takes linear time.
    let mut unmatched = [('(', ')'), ('[', ']')]
        .map(|(open, close)| (close, count(url, close).saturating_sub(count(url, open))));
    while let Some(last) = url.chars().next_back() {
        let bracket = unmatched.iter_mut().find(|(close, n)| *close == last && *n > 0);
        if let Some((_, n)) = bracket {
            *n -= 1;
        } else if !matches!(last, '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~' | '…')
        {
            break;
        }
        url = &url[..url.len() - last.len_utf8()];
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_end_where_the_sentence_goes_on() {
        let cases: [(&str, &[&str]); 9] = [
            ("see https://a.test/x.", &["https://a.test/x"]),
            ("(http://a.test/x)", &["http://a.test/x"]),
            ("http://a.test/w_(x) and", &["http://a.test/w_(x)"]),
            ("http://a.test,https://b.test", &["http://a.test,https://b.test"]),
            ("<http://a.test> \"http://b.test\"", &["http://a.test", "http://b.test"]),
            ("xhttp://a.test http:// https:/ http", &[]),
            ("httphttp://a.test", &[]),
            ("http://[::1]:80/x [http://a.test]", &["http://[::1]:80/x", "http://a.test"]),
            ("ähttp://a.test …http://b.test…", &["http://b.test"]),
        ];
        for (text, expected) in cases {
            let mut found = Vec::new();
            find(text, |url| found.push(url));
            assert_eq!(found, expected, "{text}");
        }
    }
}
