//! `json.query`: JSONPath (RFC 9535) over a value.
//!
//! The library that evaluates paths has no fuel, so the work is estimated before it starts, from the shape of the
//! value and of the path; the estimate is never too low by more than a small factor.

use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::typed::{About, Pure};

const HELP: &str = r#"
Evaluates a JSONPath (RFC 9535) over `value`. `matches` has what was found, in document order; with `first: true` at
most one value. `first` is the first match, or `null`.

```json
{"value": {"items": [{"sku": "a", "n": 2}, {"sku": "b", "n": 7}]}, "path": "$.items[?@.n > 5].sku"}
```
"#;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Where to look.
    value: Value,
    /// The path, from `$`.
    path: String,
    /// Whether only the first match is wanted.
    #[serde(default)]
    first: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// What was found.
    matches: Vec<Value>,
    /// How much was found, also where `matches` has only the first.
    count: usize,
    /// The first match, or `null`.
    first: Value,
}

pub(super) fn def() -> ToolDef {
    About::new("json.query", EffectClass::Pure, "Find values in JSON with a JSONPath", HELP)
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Pure::new(def(), run))
}

fn run(input: Input) -> Result<Output, Failure> {
    let Input { value, path, first } = input;
    let too_much = |what: String| Failure::certain(Code::LimitExceeded, what);
    if path.len() > limits::QUERY_BYTES {
        return Err(too_much(format!("the path is longer than {} bytes", limits::QUERY_BYTES)));
    }
    let shape = PathShape::of(&path);
    if shape.nesting > limits::QUERY_NESTING {
        return Err(too_much(format!("the path nests deeper than {}", limits::QUERY_NESTING)));
    }
    let path = JsonPath::parse(&path)
        .map_err(|e| Failure::certain(Code::InvalidInput, format!("not a JSONPath: {e}")))?;
    let size = Size::of(&value);
    if shape.visits(size) > limits::QUERY_VISITS {
        return Err(too_much(format!(
            "the path may visit more than {} values of a value with {} parts; use a more definite path",
            limits::QUERY_VISITS,
            size.parts
        )));
    }
    let found = path.query(&value).all();
    let front = found.first().map_or(Value::Null, |&value| value.clone());
    let wanted = if first == Some(true) { &found[..found.len().min(1)] } else { &found[..] };
    let parts: u64 = wanted.iter().map(|value| Size::of(value).bytes).sum();
    if wanted.len() > limits::QUERY_MATCHES || parts > limits::OUTCOME_BYTES as u64 {
        return Err(too_much(format!(
            "the path finds more than {} values or {} bytes",
            limits::QUERY_MATCHES,
            limits::OUTCOME_BYTES
        )));
    }
    let matches = wanted.iter().map(|&value| value.clone()).collect();
    Ok(Output { matches, count: found.len(), first: front })
}

/// How large a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Size {
    /// Scalars and collections.
    parts: u64,
    /// Collections within collections, at least 1.
    depth: u64,
    /// Bytes of its JSON text, about.
    bytes: u64,
}

impl Size {
    fn of(value: &Value) -> Self {
        let mut size = Self { parts: 0, depth: 1, bytes: 0 };
        let mut open = vec![(value, 1)];
        while let Some((value, depth)) = open.pop() {
            size.parts += 1;
            size.depth = size.depth.max(depth);
            match value {
                Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
                Value::Object(map) => {
                    size.bytes += map.keys().map(|key| key.len() as u64 + 3).sum::<u64>();
                    open.extend(map.values().map(|item| (item, depth + 1)));
                }
                Value::String(text) => size.bytes += text.len() as u64,
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
            size.bytes += 3;
        }
        size
    }
}

/// What makes a path costly.
#[derive(Debug, PartialEq)]
struct PathShape {
    /// Brackets and parentheses within each other.
    nesting: usize,
    /// `..` segments, wherever they stand.
    descents: u32,
    /// Queries from the root within filters.
    roots: u32,
    /// Product of the numbers of selectors of each bracket.
    unions: u64,
    /// Calls of `match` or `search`, which compile a pattern each time.
    patterns: bool,
}

impl PathShape {
    fn of(path: &str) -> Self {
        let mut shape = Self { nesting: 0, descents: 0, roots: 0, unions: 1, patterns: false };
        let mut open: Vec<u64> = Vec::new();
        let (mut quote, mut escaped, mut last) = (None, false, ' ');
        for c in path.chars() {
            if let Some(end) = quote {
                if !escaped && c == end {
                    quote = None;
                }
                escaped = !escaped && c == '\\';
                continue;
            }
            match c {
                '\'' | '"' => quote = Some(c),
                '[' | '(' => open.push(1),
                ',' => {
                    if let Some(selectors) = open.last_mut() {
                        *selectors += 1;
                    }
                }
                ']' | ')' => shape.unions = shape.unions.saturating_mul(open.pop().unwrap_or(1)),
                '.' if last == '.' => shape.descents += 1,
                '$' => shape.roots += 1,
                _ => {}
            }
            shape.nesting = shape.nesting.max(open.len());
            last = c;
        }
        shape.roots = shape.roots.saturating_sub(1);
        shape.patterns = path.contains("match(") || path.contains("search(");
        shape
    }

    /// At most about this many values are visited: a descent meets each part once per collection above it, a query from
    /// the root in a filter runs once per candidate, and each selector of a union goes its own way.
    fn visits(&self, size: Size) -> u64 {
        let pattern = if self.patterns { 1_000 } else { 1 };
        size.parts
            .saturating_mul(size.depth.saturating_pow(self.descents))
            .saturating_mul(size.parts.saturating_pow(self.roots))
            .saturating_mul(self.unions)
            .saturating_mul(pattern)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(value: Value, path: &str) -> Result<Output, Failure> {
        run(Input { value, path: path.to_owned(), first: None })
    }

    #[test]
    fn finds_in_document_order() {
        let value = json!({"a": [{"n": 1}, {"n": 2}, {"m": 3}], "b": {"n": 4}});
        let cases = [
            ("$.a[*].n", json!([1, 2])),
            ("$..n", json!([1, 2, 4])),
            ("$.a[-1]", json!([{"m": 3}])),
            ("$.a[?@.n >= 2]", json!([{"n": 2}])),
            ("$.missing", json!([])),
            ("$['b','b'].n", json!([4, 4])),
            ("$.a[?match(@.m, 'x')]", json!([])),
        ];
        for (path, expected) in cases {
            let found = ask(value.clone(), path).unwrap();
            assert_eq!(json!(found.matches), expected, "{path}");
            assert_eq!(found.count, found.matches.len(), "{path}");
            assert_eq!(found.first, expected.get(0).cloned().unwrap_or_default(), "{path}");
        }
    }

    #[test]
    fn first_gives_one_match_and_counts_all() {
        let input = Input { value: json!([1, 2, 3]), path: "$[*]".into(), first: Some(true) };
        let found = run(input).unwrap();
        assert_eq!((found.matches, found.count, found.first), (vec![json!(1)], 3, json!(1)));
    }

    #[test]
    fn refuses_what_would_not_end() {
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner, inner_text()]));
        let wide: Value = vec![json!({"a": 1}); 20_000].into();
        let nested = format!("$[?{}@.a{}]", "(".repeat(30), ")".repeat(30));
        let long = format!("$.{}", "a".repeat(limits::QUERY_BYTES));
        let cases: [(&Value, &str); 6] = [
            (&deep, "$..*..*..*..*..*"),
            (&wide, "$[?$..a]"),
            (&wide, "$[*,*,*,*,*,*,*,*][*,*,*,*,*,*,*,*][*,*,*,*,*,*,*,*]"),
            (&wide, "$[?match(@.a, '.*')]"),
            (&json!(1), &nested),
            (&json!(1), &long),
        ];
        for (value, path) in cases {
            let failure = ask(value.clone(), path).err().map(|f| (f.code, f.certain));
            assert_eq!(failure, Some((Code::LimitExceeded, true)), "{path}");
        }
    }

    fn inner_text() -> Value {
        json!("leaf")
    }

    #[test]
    fn refuses_output_that_outgrows_its_limit() {
        let leaf: Value = "x".repeat(40_000).into();
        let deep = (0..60).fold(leaf, |inner, _| json!([inner]));
        let wide: Value = vec![deep; 10].into();
        let failure = ask(wide, "$..*").err().map(|f| f.code);
        assert_eq!(failure, Some(Code::LimitExceeded));
    }

    #[test]
    fn a_bad_path_is_bad_input() {
        for path in ["", "a.b", "$[", "$.a[?", "$[?(@.a", "$.a]", "$['\\'"] {
            assert_eq!(
                ask(json!({}), path).err().map(|f| f.code),
                Some(Code::InvalidInput),
                "{path}"
            );
        }
    }

    #[test]
    fn quoted_text_is_not_counted() {
        let shape = PathShape::of(r#"$['a,b..$[(']["x\"],,"]"#);
        let plain = PathShape { nesting: 1, descents: 0, roots: 0, unions: 1, patterns: false };
        assert_eq!(shape, plain);
    }
}
