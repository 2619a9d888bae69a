//! Whether the filters and tests that an expression names exist; the expression language itself finds out only when
//! it evaluates one.

use std::collections::BTreeMap;

use minijinja::ErrorKind;

use crate::expr::{Expr, Part, Template};

/// What is known of filters (`| name`) and tests (`is name`).
#[derive(Debug, Default)]
pub(super) struct Filters {
    known: BTreeMap<Named, bool>,
}

/// A filter or a test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    Filter(String),
    Test(String),
}

impl Named {
    /// What to say if it does not exist.
    pub(super) fn unknown(&self) -> String {
        match self {
            Self::Filter(name) => format!("no filter is named '{name}'"),
            Self::Test(name) => format!("no test is named '{name}'"),
        }
    }
}

impl Filters {
    /// Those that a text names and that do not exist, in its order.
    pub(super) fn missing(&mut self, source: &str) -> Vec<Named> {
        let mut named = named(source);
        named.retain(|named| !self.exists(named));
        named
    }

    fn exists(&mut self, named: &Named) -> bool {
        if let Some(known) = self.known.get(named) {
            return *known;
        }
        // Tried on nothing; a filter that exists may well refuse that, but in other words.
        let (probe, unknown) = match named {
            Named::Filter(name) => (format!("none|{name}"), ErrorKind::UnknownFilter),
            Named::Test(name) => (format!("none is {name}"), ErrorKind::UnknownTest),
        };
        let known = Expr::compile(&probe).is_ok_and(|expr| {
            !expr.compiled().eval(()).is_err_and(|error| error.kind() == unknown)
        });
        self.known.insert(named.clone(), known);
        known
    }
}

/// Calls `see` with each text of a template that is evaluated. Templates are of bounded depth, so this may recurse.
pub(super) fn each_source<'e>(template: &'e Template, see: &mut dyn FnMut(&'e str)) {
    match template {
        Template::Literal(_) => {}
        Template::Expr(expr) => see(expr.source()),
        Template::Text(parts) => {
            for part in parts {
                if let Part::Expr(expr) = part {
                    see(expr.source());
                }
            }
        }
        Template::Block(text, _) => {
            let mut rest: &'e str = text;
            while let Some(open) = rest.find(['{']) {
                rest = &rest[open + 1..];
                let close = match rest.bytes().next() {
                    Some(b'{') => "}}",
                    Some(b'%') => "%}",
                    _ => continue,
                };
                let Some(end) = rest.find(close) else { break };
                see(&rest[1..end]);
                rest = &rest[end..];
            }
        }
        Template::List(items) => {
            for item in items {
                each_source(item, see);
            }
        }
        Template::Object(entries) => {
            for (_, item) in entries {
                each_source(item, see);
            }
        }
    }
}

/// The filters and tests that an expression names.
fn named(source: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut before = "";
    for word in (Words { rest: source }) {
        match before {
            "|" if is_name(word) => found.push(Named::Filter(word.to_owned())),
            "is" if word == "not" => continue,
            "is" if is_name(word) => found.push(Named::Test(word.to_owned())),
            _ => {}
        }
        before = word;
    }
    found
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// The names and signs of an expression; texts in quotes count as one sign, and white space as none.
struct Words<'w> {
    rest: &'w str,
}

impl<'w> Iterator for Words<'w> {
    type Item = &'w str;

    fn next(&mut self) -> Option<&'w str> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        let end = if first.is_ascii_alphanumeric() || matches!(first, '_' | '.') {
            // `item.is` is a field, not the word `is`.
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.'))
        } else if matches!(first, '"' | '\'') {
            quoted(self.rest, first)
        } else {
            Some(first.len_utf8())
        };
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Some(word)
    }
}

/// Where the text in quotes ends that `source` starts with.
fn quoted(source: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in source.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_not_there() {
        let cases: &[(&str, &[&str])] = &[
            ("x | upper | default('a | b')", &[]),
            ("x|shout", &["no filter is named 'shout'"]),
            ("x is defined and y is not even", &[]),
            ("x is nice", &["no test is named 'nice'"]),
            ("item.is | length", &[]),
            ("'a' ~ \"it's | nothing\" | tojson", &[]),
            ("x is not nice | shout", &["no test is named 'nice'", "no filter is named 'shout'"]),
        ];
        for (source, expected) in cases {
            let missing = Filters::default().missing(source);
            let said: Vec<String> = missing.iter().map(Named::unknown).collect();
            assert_eq!(said, *expected, "{source}");
        }
    }
}
