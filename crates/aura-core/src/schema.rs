//! JSON Schema 2020-12, behind one small door, because the library's own changes weekly.

use serde_json::Value;

/// A compiled schema.
pub struct Schema {
    validator: jsonschema::Validator,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schema")
    }
}

/// One way in which a value breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// JSON pointer to the value.
    pub at: String,
    /// What is wrong with it.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = if self.at.is_empty() { "the value" } else { &self.at };
        write!(f, "{at}: {}", self.message)
    }
}

/// At most this many violations are told.
const VIOLATIONS: usize = 20;

impl Schema {
    /// Compiles a schema; references to other documents are refused, so that nothing is fetched.
    ///
    /// # Errors
    /// The schema is not one; the text says where.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(schema)
            .map(|validator| Self { validator })
            .map_err(|e| e.to_string())
    }

    /// Every violation of `value`, at most 20.
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        self.validator
            .iter_errors(value)
            .take(VIOLATIONS)
            .map(|e| Violation { at: e.instance_path().to_string(), message: e.to_string() })
            .collect()
    }

    /// Whether `value` fits.
    pub fn fits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}
