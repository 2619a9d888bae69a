//! Takes Rust text apart into code and comments, as far as looking for words in it needs.

/// A text of which only one kind of thing is left; the rest is blank, so that lines and columns stay what they were.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Everything but comments and what is in quotes.
    pub(super) code: String,
    /// Comments only.
    pub(super) comments: String,
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Splits a file.
pub(super) fn split(text: &str) -> Split {
    let mut split = Split { code: String::new(), comments: String::new() };
    let mut at = 0;
    let mut last = ' ';
    while let Some(next) = text[at..].chars().next() {
        let (kind, length) = token(&text[at..], last).unwrap_or((Kind::Code, next.len_utf8()));
        let token = &text[at..at + length];
        let (code, comment) = match kind {
            Kind::Code => (token.to_owned(), blank(token)),
            Kind::Comment => (blank(token), token.to_owned()),
            Kind::Literal => (blank(token), blank(token)),
        };
        split.code.push_str(&code);
        split.comments.push_str(&comment);
        last = next;
        at += length;
    }
    split
}

/// The comment or literal that begins here, with its length; `last` is the character before it.
fn token(rest: &str, last: char) -> Option<(Kind, usize)> {
    if rest.starts_with("//") {
        return Some((Kind::Comment, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, block_comment(rest)));
    }
    if rest.starts_with('"') {
        return Some((Kind::Literal, quoted(rest, '"')));
    }
    if rest.starts_with('\'') {
        return character(rest).map(|length| (Kind::Literal, length));
    }
    // `br"…"` and `cr"…"` are raw too; in `for"` the `r` belongs to a word.
    let begins = !(last.is_alphanumeric() || last == '_') || matches!(last, 'b' | 'c');
    if begins && rest.starts_with('r') {
        return raw(rest).map(|length| (Kind::Literal, length));
    }
    None
}

/// Length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of what stands between two marks, the marks included; a backslash hides the character after it.
fn quoted(rest: &str, mark: char) -> usize {
    let mut hidden = false;
    for (at, next) in rest.char_indices().skip(1) {
        if hidden {
            hidden = false;
        } else if next == '\\' {
            hidden = true;
        } else if next == mark {
            return at + mark.len_utf8();
        }
    }
    rest.len()
}

/// Length of a character literal; nothing if the quote begins a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut inside = rest.chars().skip(1);
    let first = inside.next()?;
    (first == '\\' || inside.next() == Some('\'')).then(|| quoted(rest, '\''))
}

/// Length of a raw string; nothing if this is a word that begins with `r`, or a raw identifier.
fn raw(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|&byte| byte == b'#').count();
    let open = 1 + hashes;
    if rest.as_bytes().get(open) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let end = rest[open + 1..].find(&close).map(|at| open + 1 + at + close.len());
    Some(end.unwrap_or(rest.len()))
}

/// Where a word stands by itself in a text, not as a part of another.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part)
    })
}

/// Whether a word stands by itself in a text.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    words(text, word).next().is_some()
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        split(text).code
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("a\"b", c)"#), "f(      , c)");
        assert_eq!(code("r\"\\\" x"), "     x");
        assert_eq!(code("br#\"a\"b\"# x"), "b         x");
        assert_eq!(code("\"a // b\" c"), "         c");
    }

    #[test]
    fn quotes_are_told_from_lifetimes() {
        assert_eq!(code("'\"' x"), "    x");
        assert_eq!(code(r"'\'' x"), "     x");
        assert_eq!(code("&'a str, 'b'"), "&'a str,    ");
        assert_eq!(code("r#type for\"x\""), "r#type for   ");
    }

    #[test]
    fn comments_stay_in_their_line() {
        let split = split("a // one\n/* two\nthree */ b");
        assert_eq!(split.comments, "  // one\n/* two\nthree */  ");
        assert_eq!(split.code, "a       \n      \n         b");
    }

    #[test]
    fn a_part_of_a_word_is_not_the_word() {
        assert!(has_word("an unsafe block", "unsafe"));
        assert!(!has_word("unsafe_code, sunsafe", "unsafe"));
    }

    #[test]
    fn what_is_never_closed_ends_with_the_file() {
        assert_eq!(code("a \"b"), "a   ");
        assert_eq!(code("a /* b"), "a     ");
        assert_eq!(code("a r#\"b"), "a     ");
    }
}
