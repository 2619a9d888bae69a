//! JSON texts to a [`Tree`]. YAML is nearly a superset of JSON, but not quite: it has no surrogate pairs (`\ud83d\ude00`),
//! and keys of a thousand characters are none to it. So a text that is JSON is read as JSON.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use aura_core::limits;
use serde_json::Value;

use super::diagnostic::Findings;
use super::scalar;
use super::tree::{Key, Tree};
use super::yaml::short;

/// The tree of a text, if it is a JSON object. What is wrong with it beyond that is noted.
pub(super) fn parse(source: &str, findings: &mut Findings) -> Option<Rc<Tree>> {
    let plain = source.strip_prefix('\u{feff}').unwrap_or(source);
    if !plain.trim_start().starts_with('{') {
        return None;
    }
    // Settles that it is JSON, and that its depth is at most 128, so that the reader below may recurse and may
    // take every sign for granted.
    serde_json::from_str::<Value>(plain).ok()?;
    let at = source.len() - plain.len();
    Some(Rc::new(Reader { source, at, findings, values: 0 }.value()))
}

struct Reader<'s, 'f> {
    source: &'s str,
    at: usize,
    findings: &'f mut Findings,
    values: usize,
}

impl Reader<'_, '_> {
    /// The next sign that is not white space; it is not passed.
    fn peek(&mut self) -> u8 {
        let bytes = self.source.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or_default()
    }

    fn value(&mut self) -> Tree {
        let first = self.peek();
        let start = self.at;
        self.values += 1;
        if self.values == limits::FLOW_VALUES + 1 {
            let message = format!("the file has more than {} values", limits::FLOW_VALUES);
            self.findings.add(&(start..start), "", message);
        }
        match first {
            b'{' => self.object(start),
            b'[' => self.list(start),
            b'"' => {
                let (text, span) = self.text();
                Tree::scalar(span, Value::String(text))
            }
            _ => {
                let rest = &self.source[start..];
                let length =
                    rest.find(|c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace());
                self.at = start + length.unwrap_or(rest.len());
                let value = scalar::plain(&self.source[start..self.at]).unwrap_or_default();
                Tree::scalar(start..self.at, value)
            }
        }
    }

    fn list(&mut self, start: usize) -> Tree {
        let mut items = Vec::new();
        self.at += 1;
        while !matches!(self.peek(), b']' | 0) {
            let item = self.value();
            // What is beyond the limit is read, to find the end, but not kept.
            if self.values <= limits::FLOW_VALUES {
                items.push(Rc::new(item));
            }
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Tree::list(start..self.at, items)
    }

    fn object(&mut self, start: usize) -> Tree {
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        self.at += 1;
        while !matches!(self.peek(), b'}' | 0) {
            let (text, span) = self.text();
            if self.peek() == b':' {
                self.at += 1;
            }
            let value = self.value();
            if !seen.insert(text.clone()) {
                let message = format!("the key '{}' is given twice", short(&text));
                self.findings.add(&span, "", message).suggest("keep one of them");
            } else if self.values <= limits::FLOW_VALUES {
                entries.push((Key { text, span }, Rc::new(value)));
            }
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Tree::map(start..self.at, entries)
    }

    /// A text in quotes.
    fn text(&mut self) -> (String, Range<usize>) {
        let bytes = self.source.as_bytes();
        let start = self.at;
        self.at += 1;
        while !matches!(bytes.get(self.at), Some(b'"') | None) {
            self.at += if bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at = (self.at + 1).min(bytes.len());
        let span = start..self.at;
        let text = serde_json::from_str(&self.source[span.clone()]).unwrap_or_default();
        (text, span)
    }
}
