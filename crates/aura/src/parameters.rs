//! The parameters of a JSON Schema, as rows of a table that a person reads.

use serde_json::Value;

/// A property of an object.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its type in words.
    pub(crate) kind: String,
    /// Whether it must be given.
    pub(crate) required: bool,
    /// What it is when it is not given.
    pub(crate) default: Option<Value>,
    /// What it means.
    pub(crate) description: String,
}

/// The properties of an object's schema, required ones first.
pub(crate) fn of(schema: &Value) -> Vec<Row> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut rows: Vec<Row> = properties
        .map(|(name, property)| Row {
            name: name.clone(),
            kind: kind(property),
            required: required.contains(&name.as_str()),
            default: property.get("default").filter(|value| !value.is_null()).cloned(),
            description: text(&property["description"]),
        })
        .collect();
    rows.sort_by_key(|row| !row.required);
    rows
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A type in words: `text`, `list of text`, `"a" or "b"`.
fn kind(schema: &Value) -> String {
    if let Some(texts) = schema["enum"].as_array() {
        let few: Vec<_> = texts.iter().take(8).map(shown).collect();
        let more = if texts.len() > few.len() { ", …" } else { "" };
        return format!("{}{more}", few.join(", "));
    }
    if let Some(value) = schema.get("const") {
        return shown(value);
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(options) = schema[word].as_array() {
            let mut kinds: Vec<_> =
                options.iter().map(kind).filter(|kind| kind != "null").collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(name) => named(name, schema),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.map(|name| named(name, schema)).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    }
}

fn named(name: &str, schema: &Value) -> String {
    match name {
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => match schema.get("items") {
            Some(items) if items.is_object() => format!("list of {}", kind(items)),
            _ => "list".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_told_in_words() {
        let cases = [
            (json!({"type": "string"}), "text"),
            (json!({"type": ["integer", "null"]}), "whole number"),
            (json!({"type": "array", "items": {"type": "string"}}), "list of text"),
            (json!({"enum": ["a", "b"]}), "a, b"),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), "text"),
            (json!({"anyOf": [{"type": "string"}, {"type": "number"}]}), "text or number"),
            (json!({"oneOf": [{"const": "x"}, {"const": "y"}]}), "x or y"),
            (json!({"description": "anything"}), "any"),
            (json!(true), "any"),
        ];
        for (schema, expected) in cases {
            assert_eq!(kind(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn required_parameters_come_first() {
        let schema = json!({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["b"]});
        let names: Vec<_> = of(&schema).into_iter().map(|row| (row.name, row.required)).collect();
        assert_eq!(names, [("b".to_owned(), true), ("a".to_owned(), false)]);
    }
}
