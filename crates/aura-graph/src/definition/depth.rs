//! How deep the syntax of an expression may be. The expression language reads its texts by recursion, and a chain
//! such as `a + a + a` is as deep as it is long; so what a stranger may send is bounded before it is read.

/// Signs and words that join or nest, in one expression; people write a few dozen at most.
const JOINTS: usize = 500;

/// Bytes of one expression. The language counts columns and arguments in 16 bits, and counting past that panics.
const BYTES: usize = 32 << 10;

/// Bytes of one line of a text with statements, for the same reason.
const LINE_BYTES: usize = 60_000;

/// Statements within statements of one text, each `elif` counted as one.
const STATEMENTS: usize = 32;

/// Whether a text of a flow file is too deep to be read as an expression or template; if so, why.
pub(super) fn too_deep(text: &str) -> Option<String> {
    if text.contains("{%") || text.contains("{#") {
        return blocks(text);
    }
    let mut rest = text;
    let mut joints = Joints::default();
    if !text.contains("{{") {
        return expression_too_deep(text);
    }
    while let Some(open) = rest.find("{{") {
        // What stands behind an opening is one expression at most; counting on past its end only refuses earlier.
        rest = &rest[open + 2..];
        joints.count = 0;
        let inner = joints.until(rest, "}}");
        if joints.count > JOINTS || inner > BYTES {
            return Some(too_long());
        }
        rest = &rest[inner..];
    }
    None
}

/// The same for a text that is one expression as a whole, with braces or without.
pub(super) fn expression_too_deep(text: &str) -> Option<String> {
    (Joints::default().all(text) || text.len() > BYTES).then(too_long)
}

fn too_long() -> String {
    format!("the expression is too long: {JOINTS} operators and {BYTES} bytes are the most")
}

/// A text with statements.
fn blocks(text: &str) -> Option<String> {
    if text.split('\n').any(|line| line.len() > LINE_BYTES) {
        return Some(format!("a line of a text with statements has at most {LINE_BYTES} bytes"));
    }
    let mut rest = text;
    // One entry for each open statement: itself and its `elif`s.
    let mut open: Vec<usize> = Vec::new();
    let mut joints = Joints::default();
    while let Some(at) = rest.find('{') {
        rest = &rest[at + 1..];
        let Some(close) = (match rest.bytes().next() {
            Some(b'#') => {
                rest = rest.find("#}").map_or("", |end| &rest[end + 2..]);
                None
            }
            Some(b'{') => Some("}}"),
            Some(b'%') => Some("%}"),
            _ => None,
        }) else {
            continue;
        };
        rest = &rest[1..];
        joints.count = 0;
        let end = joints.until(rest, close);
        if joints.count > JOINTS || end > BYTES {
            return Some(too_long());
        }
        if close == "%}" {
            let word = rest.trim_start_matches(['-', '+']).trim_start();
            let word =
                &word[..word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len())];
            match word {
                "raw" => {
                    rest = rest.find("endraw").map_or("", |end| &rest[end..]);
                    continue;
                }
                "elif" => open.iter_mut().last().into_iter().for_each(|own| *own += 1),
                word if word.starts_with("end") => drop(open.pop()),
                _ => open.push(1),
            }
            // Statements without an end, such as `set x = 1`, count as open; few texts have many of them.
            if matches!(word, "set" | "do" | "break" | "continue" | "else") {
                open.pop();
            }
            if open.iter().sum::<usize>() > STATEMENTS {
                return Some(format!(
                    "statements stand within statements more than {STATEMENTS} deep"
                ));
            }
        }
        rest = &rest[end..];
    }
    None
}

/// Counts what makes an expression deep.
#[derive(Default)]
struct Joints {
    count: usize,
}

impl Joints {
    /// Whether a whole text has too many.
    fn all(&mut self, text: &str) -> bool {
        self.until(text, "\0");
        self.count > JOINTS
    }

    /// Counts up to the sign `close` outside quotes; gives the place behind it.
    fn until(&mut self, text: &str, close: &str) -> usize {
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut braces = 0_usize;
        while at < bytes.len() && self.count <= JOINTS {
            let byte = bytes[at];
            match byte {
                b'"' | b'\'' => at = quoted(bytes, at),
                _ if braces == 0 && bytes[at..].starts_with(close.as_bytes()) => {
                    return at + close.len();
                }
                b'{' => {
                    braces += 1;
                    self.count += 1;
                }
                b'}' => braces = braces.saturating_sub(1),
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b')' | b']' | b'_' => {}
                _ if byte.is_ascii_alphanumeric() => {
                    let word =
                        bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_');
                    let length = word.count();
                    let joins = matches!(
                        &bytes[at..at + length],
                        b"not" | b"and" | b"or" | b"is" | b"in" | b"if" | b"else"
                    );
                    self.count += usize::from(joins);
                    at += length - 1;
                }
                _ => self.count += 1,
            }
            at += 1;
        }
        at.min(bytes.len())
    }
}

/// The place of the quote that ends the text that starts at `open`.
fn quoted(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != bytes[open] {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_chains_are_too_deep_and_long_texts_are_not() {
        let fine = [
            "x".repeat(10_000),
            "a. b. (c) - d".repeat(1_000) + "{{ x }}",
            format!("{{{{ [{}] }}}}", "1, ".repeat(5_000)),
            "{{ a.b | upper }}\n".repeat(2_000),
            "{% if a %}{{ b + 1 }}{% elif c %}x{% endif %}".repeat(500),
            "{% set x = 1 %}".repeat(500),
            "{% raw %}{% if a %}{% if a %}{% endraw %}".repeat(100),
            "{{ 'a + b + c'  }}".repeat(100),
        ];
        for text in fine {
            assert_eq!(too_deep(&text), None, "{}", text.get(..40).unwrap_or_default());
        }
        let deep = [
            format!("{{{{ {}1 }}}}", "1 + ".repeat(600)),
            format!("{{{{ '}}}}' ~ {}1 }}}}", "not ".repeat(600)),
            format!("a{}", ".b".repeat(600)),
            format!("{{{{ a{} }}}}", "[0]".repeat(600)),
            format!("{{{{ a{} }}}}", "|upper".repeat(600)),
            "{{ ".to_owned() + &"{'a': ".repeat(600),
            format!("{{{{ a({}) }}}}", "1,".repeat(70_000)),
            format!("{}{{% if %}}", "x".repeat(70_000)),
            format!("a ==   {}", " ".repeat(70_000)),
            "{% if a %}".repeat(40),
            "{% if a %}".to_owned() + &"{% elif a %}".repeat(40),
            "{% if ".to_owned() + &"not ".repeat(600) + "%}",
        ];
        let hidden = format!("'{{#' ~ {}1", "1 + ".repeat(600));
        assert!(expression_too_deep(&hidden).is_some());
        for text in deep {
            assert!(too_deep(&text).is_some(), "{}", text.get(..40).unwrap_or_default());
        }
    }
}
