//! Canonical JSON: the form in which values are hashed.
//!
//! RFC 8785 (keys sorted by UTF-16 code units, no white space, ECMAScript number formatting) with one deviation:
//! integers within i64 and u64 are written digit for digit, where RFC 8785 would round those above 2^53, because
//! two different integers must never have one hash.

use serde_json::{Map, Number, Value};

/// The canonical text of `value`.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// The canonical bytes of `value`.
pub fn to_vec(value: &Value) -> Vec<u8> {
    to_string(value).into_bytes()
}

/// Appends the canonical text of `value`.
pub fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => write_object(map, out),
    }
}

fn write_object(map: &Map<String, Value>, out: &mut String) {
    let mut entries: Vec<_> = map.iter().collect();
    // serde_json keeps keys in byte order, which differs from UTF-16 order only where a key leaves ASCII.
    if entries.iter().any(|(key, _)| !key.is_ascii()) {
        entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    }
    out.push('{');
    for (at, (key, value)) in entries.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

fn write_number(number: &Number, out: &mut String) {
    if let Some(integer) = number.as_i64() {
        out.push_str(&integer.to_string());
    } else if let Some(integer) = number.as_u64() {
        out.push_str(&integer.to_string());
    } else {
        // serde_json holds no NaN and no infinity, so every other number is a finite float.
        let float = number.as_f64().unwrap_or_default();
        out.push_str(ryu_js::Buffer::new().format(float));
    }
}

/// Appends a text as canonical JSON has it, with its quotes.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                let code = u32::from(c);
                out.push_str("\\u00");
                for shift in [4, 0] {
                    out.extend(char::from_digit(code >> shift & 15, 16));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether collections stand in more than `most` levels within each other.
pub fn deeper_than(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(items) => match most.checked_sub(1) {
            Some(rest) => items.iter().any(|item| deeper_than(item, rest)),
            None => true,
        },
        Value::Object(map) => match most.checked_sub(1) {
            Some(rest) => map.values().any(|item| deeper_than(item, rest)),
            None => true,
        },
        _ => false,
    }
}

/// Parses JSON text as the log takes it in: integers within i64 and u64 stay digit for digit; a wider or inexact
/// number literal is kept as a string, and its JSON pointer is returned.
///
/// # Errors
/// Text that is not one JSON value, or is nested deeper than [`crate::limits::VALUE_NESTING`].
pub fn ingest(text: &str) -> Result<(Value, Vec<String>), serde_json::Error> {
    let value: Value = serde_json::from_str(text)?;
    if deeper_than(&value, crate::limits::VALUE_NESTING) {
        let message = format!("nested deeper than {}", crate::limits::VALUE_NESTING);
        return Err(<serde_json::Error as serde::de::Error>::custom(message));
    }
    // A literal with more than 19 digits is the only way to lose an integer; without one the parsed value is exact.
    if !has_wide_integer(text) {
        return Ok((value, Vec::new()));
    }
    let mut wide = Vec::new();
    let value = stringify_wide(text, value, &mut wide)?;
    Ok((value, wide))
}

fn has_wide_integer(text: &str) -> bool {
    let mut digits = 0;
    for byte in text.bytes() {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        if digits >= 19 {
            return true;
        }
    }
    false
}

/// Walks the raw text beside the parsed value, so that the literal's own digits are kept.
fn stringify_wide(
    text: &str,
    parsed: Value,
    wide: &mut Vec<String>,
) -> Result<Value, serde_json::Error> {
    fn walk(
        raw: &serde_json::value::RawValue,
        parsed: Value,
        at: &str,
        wide: &mut Vec<String>,
    ) -> Result<Value, serde_json::Error> {
        Ok(match parsed {
            Value::Number(number) if number.is_f64() => {
                let literal = raw.get();
                let integer =
                    literal.bytes().all(|b| b.is_ascii_digit() || b == b'-') && literal != "-0";
                if integer {
                    wide.push(at.to_owned());
                    Value::String(literal.to_owned())
                } else {
                    Value::Number(number)
                }
            }
            Value::Array(items) => {
                let raws: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw.get())?;
                let mut out = Vec::with_capacity(items.len());
                for (index, (item, raw)) in items.into_iter().zip(raws).enumerate() {
                    out.push(walk(raw, item, &format!("{at}/{index}"), wide)?);
                }
                Value::Array(out)
            }
            Value::Object(map) => {
                let raws: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
                    serde_json::from_str(raw.get())?;
                let mut out = Map::new();
                for (key, item) in map {
                    let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                    let item = match raws.get(&key) {
                        Some(raw) => walk(raw, item, &pointer, wide)?,
                        None => item,
                    };
                    out.insert(key, item);
                }
                Value::Object(out)
            }
            other => other,
        })
    }
    let raw: &serde_json::value::RawValue = serde_json::from_str(text)?;
    walk(raw, parsed, "", wide)
}
