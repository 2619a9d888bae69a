//! `verify`: a value against a schema and a list of weighted checks.
//!
//! It says what it found; that a verification which did not pass fails its step is the engine's rule, not this tool's.

use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::schema::Schema;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::typed::{About, Pure};

const HELP: &str = r#"
Checks `value` against a JSON Schema (2020-12) and scores a list of checks: 100 × weight of the passed checks / weight
of all, 100 where there are none. It passes if the schema holds and the score is at least `min_score` (100 if absent).
A value that breaks the schema does not pass, whatever the score.

```json
{
  "value": {"total": 12},
  "schema": {"type": "object", "required": ["total"]},
  "checks": [{"name": "positive", "weight": 2, "passed": true}, {"name": "small", "passed": false}],
  "min_score": 60
}
```
"#;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// What is verified.
    #[serde(default)]
    value: Value,
    /// A JSON Schema that `value` must fit; it can't refer to other documents.
    #[serde(default)]
    schema: Option<Value>,
    /// Checks that were made, at most 1,000.
    #[serde(default)]
    checks: Vec<Check>,
    /// The score that is enough, from 0 to 100; 100 if absent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    min_score: Option<f64>,
}

#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Check {
    /// Its name.
    name: String,
    /// How much it counts, above 0 and up to 1,000,000,000; 1 if absent.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000_000))]
    weight: f64,
    /// Whether it passed.
    passed: bool,
    /// What was seen, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

fn one() -> f64 {
    1.0
}

/// The largest weight; sums of 1,000 of them are exact enough to compare.
const WEIGHT: f64 = 1e9;

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// Whether the schema holds and the score is high enough.
    passed: bool,
    /// From 0 to 100.
    score: f64,
    /// The score that is enough.
    min_score: f64,
    /// Where the value breaks the schema, at most 20.
    violations: Vec<Violation>,
    /// The checks as they were given.
    checks: Vec<Check>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Violation {
    /// JSON pointer into the value.
    at: String,
    /// What is wrong there.
    message: String,
}

pub(super) fn def() -> ToolDef {
    About::new("verify", EffectClass::Pure, "Check a value against a schema and checks", HELP)
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Pure::new(def(), run))
}

fn run(input: Input) -> Result<Output, Failure> {
    let wrong = |what: String| Failure::certain(Code::InvalidInput, what);
    if input.checks.len() > limits::VERIFY_CHECKS {
        let what = format!("more than {} checks", limits::VERIFY_CHECKS);
        return Err(Failure::certain(Code::LimitExceeded, what));
    }
    let min_score = input.min_score.unwrap_or(100.0);
    if !(0.0..=100.0).contains(&min_score) {
        return Err(wrong(format!("min_score {min_score} is not between 0 and 100")));
    }
    let bad = input.checks.iter().find(|check| !(check.weight > 0.0 && check.weight <= WEIGHT));
    if let Some(check) = bad {
        return Err(wrong(format!("check '{}' has weight {}", check.name, check.weight)));
    }
    let violations = match &input.schema {
        Some(schema) => violations(schema, &input.value)?,
        None => Vec::new(),
    };
    let score = score(&input.checks);
    let passed = violations.is_empty() && score >= min_score;
    Ok(Output { passed, score, min_score, violations, checks: input.checks })
}

fn violations(schema: &Value, value: &Value) -> Result<Vec<Violation>, Failure> {
    let schema = Schema::compile(schema)
        .map_err(|e| Failure::certain(Code::InvalidInput, format!("not a JSON Schema: {e}")))?;
    let found = schema.violations(value).into_iter();
    Ok(found.map(|v| Violation { at: v.at, message: v.message }).collect())
}

/// 100 × weight passed / weight of all, to nine decimal places: 0.7 / 1.0 made of tenths must not be less than 70.
fn score(checks: &[Check]) -> f64 {
    let total: f64 = checks.iter().map(|check| check.weight).sum();
    if checks.is_empty() || total <= 0.0 {
        return 100.0;
    }
    let passed: f64 = checks.iter().filter(|check| check.passed).map(|check| check.weight).sum();
    let score = (100.0 * passed / total).clamp(0.0, 100.0);
    (score * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verify(args: Value) -> Result<Output, Failure> {
        run(serde_json::from_value(args).unwrap())
    }

    #[test]
    fn score_is_the_passed_share_of_the_weight() {
        let tenths = json!([
            {"name": "a", "weight": 0.1, "passed": true}, {"name": "b", "weight": 0.3, "passed": false},
            {"name": "c", "weight": 0.2, "passed": true}, {"name": "d", "weight": 0.4, "passed": true},
        ]);
        let cases = [
            (json!({}), 100.0, true),
            (json!({"checks": []}), 100.0, true),
            (json!({"checks": [{"name": "a", "passed": true}]}), 100.0, true),
            (json!({"checks": [{"name": "a", "passed": false}]}), 0.0, false),
            (json!({"checks": [{"name": "a", "passed": false}], "min_score": 0}), 0.0, true),
            (json!({"checks": tenths, "min_score": 70}), 70.0, true),
            (json!({"checks": tenths, "min_score": 70.1}), 70.0, false),
            (
                json!({"checks": [{"name": "a", "weight": 3, "passed": true}, {"name": "b", "passed": false}]}),
                75.0,
                false,
            ),
        ];
        for (args, score, passed) in cases {
            let found = verify(args.clone()).unwrap();
            assert_eq!((found.score, found.passed), (score, passed), "{args}");
        }
    }

    #[test]
    fn a_broken_schema_fails_whatever_the_score() {
        let args = json!({"value": {"n": "x"}, "schema": {"properties": {"n": {"type": "integer"}}}, "min_score": 0});
        let found = verify(args).unwrap();
        assert!(!found.passed);
        assert!(found.score > 99.0);
        assert_eq!(found.violations[0].at, "/n");
        assert!(found.violations[0].message.contains("integer"), "{}", found.violations[0].message);
    }

    #[test]
    fn nonsense_is_bad_input() {
        for args in [
            json!({"schema": {"type": "nothing"}}),
            json!({"schema": {"$ref": "http://127.0.0.1:9/x.json"}}),
            json!({"min_score": 101}),
            json!({"min_score": -1}),
            json!({"checks": [{"name": "a", "weight": 0, "passed": true}]}),
            json!({"checks": [{"name": "a", "weight": -1, "passed": true}]}),
            json!({"checks": [{"name": "a", "weight": 1e300, "passed": true}]}),
        ] {
            assert_eq!(
                verify(args.clone()).err().map(|f| f.code),
                Some(Code::InvalidInput),
                "{args}"
            );
        }
        let many: Vec<_> = (0..=limits::VERIFY_CHECKS)
            .map(|n| json!({"name": n.to_string(), "passed": true}))
            .collect();
        let failure = verify(json!({"checks": many})).err().map(|f| f.code);
        assert_eq!(failure, Some(Code::LimitExceeded));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        for schema in
            [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}]}), json!({"$dynamicRef": "#"})]
        {
            let args = json!({"value": {"a": [1]}, "schema": schema});
            let ended = verify(args).map(|found| found.passed);
            assert_ne!(ended.ok(), Some(false), "{schema}");
        }
    }
}
