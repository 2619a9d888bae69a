//! Two JSON values side by side: the places in which they differ.

use std::fmt::Write as _;

use serde_json::Value;

/// A place in which two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The place: `steps.fetch.output.items[3]`; empty for the whole value. A name with characters of its own stands
    /// in brackets and quotes: `steps["m[3]/a"].output`.
    pub path: String,
    /// What the first has there; absent where it has no such place.
    pub old: Option<Value>,
    /// What the second has there; absent where it has no such place.
    pub new: Option<Value>,
}

/// The places in which two values differ, the deepest of each, in order of the first's fields; at most `most`, and
/// how many there are in all.
pub fn changes(old: &Value, new: &Value, most: usize) -> (Vec<Change>, usize) {
    let mut found = Found { kept: Vec::new(), most, all: 0 };
    found.differ(&mut String::new(), Some(old), Some(new));
    (found.kept, found.all)
}

struct Found {
    kept: Vec<Change>,
    most: usize,
    all: usize,
}

impl Found {
    fn differ(&mut self, path: &mut String, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let here = path.len();
        match (old, new) {
            (Some(Value::Object(one)), Some(Value::Object(other))) => {
                let only = other.keys().filter(|name| !one.contains_key(*name));
                for name in one.keys().chain(only) {
                    field(path, name);
                    self.differ(path, one.get(name), other.get(name));
                    path.truncate(here);
                }
            }
            (Some(Value::Array(one)), Some(Value::Array(other))) => {
                for place in 0..one.len().max(other.len()) {
                    let _ = write!(path, "[{place}]");
                    self.differ(path, one.get(place), other.get(place));
                    path.truncate(here);
                }
            }
            _ => {
                self.all += 1;
                if self.kept.len() < self.most {
                    let (old, new) = (old.cloned(), new.cloned());
                    self.kept.push(Change { path: path.clone(), old, new });
                }
            }
        }
    }
}

fn field(path: &mut String, name: &str) {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '#');
    if !name.is_empty() && name.chars().all(plain) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    } else {
        let _ = write!(path, "[{}]", Value::from(name));
    }
}

/// The value at a path as [`Change`] writes it.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = value;
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inner) = rest.strip_prefix("[\"") {
            let end = closing(inner)?;
            let name: String = serde_json::from_str(&rest[1..end + 3]).ok()?;
            value = value.get(name)?;
            rest = rest[end + 3..].strip_prefix(']')?;
        } else if let Some(inner) = rest.strip_prefix('[') {
            let (place, after) = inner.split_once(']')?;
            value = value.get(place.parse::<usize>().ok()?)?;
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            value = value.get(&rest[..end])?;
            rest = &rest[end..];
        }
    }
    Some(value)
}

/// Where the quotes close that a text begins within.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(place),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_told_once_and_lead_back() {
        let old = json!({ "a": { "m[3]/x": [1, 2], "gone": 1 }, "same": [1] });
        let new = json!({ "a": { "m[3]/x": [1, 3, 4], "new \"q\"": { "b": 1 } }, "same": [1] });
        let (found, all) = changes(&old, &new, 10);
        let paths: Vec<_> = found.iter().map(|change| change.path.as_str()).collect();
        let expected = ["a.gone", "a[\"m[3]/x\"][1]", "a[\"m[3]/x\"][2]", "a[\"new \\\"q\\\"\"]"];
        assert_eq!((paths, all), (expected.to_vec(), 4));
        for change in &found {
            assert_eq!(at(&old, &change.path), change.old.as_ref(), "{}", change.path);
            assert_eq!(at(&new, &change.path), change.new.as_ref(), "{}", change.path);
        }
        assert_eq!(changes(&old, &new, 1).0.len(), 1);
    }

    #[test]
    fn paths_of_anybody_are_answered() {
        for path in ["[", "[\"", "[\"a", "a..b", "[9]", "]", "[\"\\\"]", "é.ü[0]", "["] {
            assert_eq!(at(&json!({ "a": 1 }), path), None, "{path}");
        }
    }
}
