//! What a JSON Schema says for certain about one field of a value. It never guesses: where a schema is open, or
//! says more than is understood here, everything is possible.

use serde_json::{Map, Value};

/// What is known about a field.
#[derive(Debug)]
pub(super) enum Field<'s> {
    /// Its schema; `closed` where the object can have no fields but those that the schema names.
    Known { schema: &'s Value, closed: bool },
    /// There is no such field; these there are.
    Unknown(Vec<&'s str>),
    /// Nothing.
    Open,
}

/// Keywords by which an object may have fields that `properties` does not name.
const MORE_FIELDS: &[&str] = &[
    "patternProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "dependentSchemas",
    "$dynamicRef",
    "unevaluatedProperties",
    "$ref",
];

/// What `schema`, a part of `root`, says about the field `name`. `listed` says that an object whose schema lists
/// properties and is silent about others has no others.
pub(super) fn field<'s>(root: &'s Value, schema: &'s Value, name: &str, listed: bool) -> Field<'s> {
    let schema = resolve(root, schema);
    let Some(object) = schema.as_object() else { return Field::Open };
    let properties = object.get("properties").and_then(Value::as_object);
    let closed = is_closed(object, listed);
    if let Some(found) = properties.and_then(|properties| properties.get(name)) {
        return Field::Known { schema: resolve(root, found), closed };
    }
    if closed {
        return Field::Unknown(
            properties.into_iter().flat_map(Map::keys).map(String::as_str).collect(),
        );
    }
    Field::Open
}

/// Whether an object of this schema has no fields but those that it names.
pub(super) fn is_closed(schema: &Map<String, Value>, listed: bool) -> bool {
    let more = MORE_FIELDS.iter().any(|key| schema.contains_key(*key));
    let silent = !schema.contains_key("additionalProperties");
    let said = schema.get("additionalProperties") == Some(&Value::Bool(false));
    !more && (said || listed && silent && schema.contains_key("properties"))
}

/// The schema that a `$ref` within the same document stands for; itself if there is none.
pub(super) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let mut schema = schema;
    // A chain of references that is longer than this goes round in circles.
    for _ in 0..16 {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix('#'));
        match target.and_then(|at| root.pointer(at)) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

/// The types that a schema allows, if it says.
pub(super) fn types(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Whether a value that is of one of some types may be of one of others.
pub(super) fn overlap(some: &[&str], others: &[&str]) -> bool {
    some.iter().any(|a| others.iter().any(|b| a == b || is_number(a) && is_number(b)))
}

fn is_number(word: &str) -> bool {
    matches!(word, "integer" | "number")
}

/// Types as a person says them: `a text or a number`.
pub(super) fn say(types: &[&str]) -> String {
    let words: Vec<&str> = types
        .iter()
        .map(|word| match *word {
            "string" => "a text",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "an object",
            "null" => "null",
            other => other,
        })
        .collect();
    super::suggest::one_of(&words)
}

/// The type of a value, in the words of JSON Schema.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number)
            if number.is_f64() && number.as_f64().is_some_and(|n| n.fract() != 0.0) =>
        {
            "number"
        }
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether a value of type `found` fits a schema that allows these types.
pub(super) fn allows(types: &[&str], found: &str) -> bool {
    types.iter().any(|allowed| *allowed == found || *allowed == "number" && found == "integer")
}
