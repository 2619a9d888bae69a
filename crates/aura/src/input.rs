//! Values that a person gives on the command line: inputs, payloads, outputs.

use std::io::Read;

use aura_core::error::{Code, Problem};
use aura_core::{canonical, limits};
use serde_json::{Map, Value};

/// A value as the log takes it in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// The value.
    pub(crate) value: Value,
    /// JSON pointers of numbers that were too wide and became text.
    pub(crate) wide: Vec<String>,
}

/// JSON from `JSON`, `@FILE` or `-` (standard input).
pub(crate) fn json(flag: &str, given: &str) -> Result<Given, Problem> {
    let (from, text) = text(flag, given)?;
    let (value, wide) = canonical::ingest(&text).map_err(|e| {
        Problem::new(Code::Usage, format!("{flag}: {from} is not JSON: {e}"))
            .next(format!("{flag} '{{\"name\": \"value\"}}', {flag} @file.json or {flag} -"))
    })?;
    Ok(Given { value, wide })
}

fn text(flag: &str, given: &str) -> Result<(String, String), Problem> {
    let unreadable = |from: &str, why: String| {
        Problem::new(Code::Usage, format!("{flag}: {from} can't be read: {why}"))
    };
    let limit = limits::VALUE_BYTES as u64 * 2;
    let mut text = String::new();
    let from = match given.strip_prefix('@') {
        _ if given == "-" => {
            let read = std::io::stdin().take(limit + 1).read_to_string(&mut text);
            read.map_err(|e| unreadable("standard input", e.to_string()))?;
            "standard input".to_owned()
        }
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|e| unreadable(path, e.to_string()))?;
            let read = file.take(limit + 1).read_to_string(&mut text);
            read.map_err(|e| unreadable(path, e.to_string()))?;
            path.to_owned()
        }
        None => {
            text.push_str(given);
            "the text".to_owned()
        }
    };
    if text.len() as u64 > limit {
        return Err(unreadable(&from, format!("it is longer than {limit} bytes")));
    }
    Ok((from, text))
}

/// Sets a field of an input from `FIELD=VALUE`; the field may be a path with dots.
pub(crate) fn set(given: &mut Given, assignment: &str) -> Result<(), Problem> {
    let Some((path, text)) = assignment.split_once('=').filter(|(path, _)| !path.is_empty()) else {
        return Err(Problem::new(
            Code::Usage,
            format!("--set '{assignment}' has no field and value"),
        )
        .next("--set FIELD=VALUE"));
    };
    let (value, wide) = match canonical::ingest(text) {
        Ok(parsed) => parsed,
        Err(_) => (Value::String(text.to_owned()), Vec::new()),
    };
    if given.value.is_null() {
        given.value = Value::Object(Map::new());
    }
    let mut place = &mut given.value;
    let mut pointer = String::new();
    for key in path.split('.') {
        let Value::Object(map) = place else {
            let at = if pointer.is_empty() { "the input" } else { &pointer };
            return Err(Problem::new(
                Code::Usage,
                format!("--set {path}: {at} is not an object, so it has no field '{key}'"),
            ));
        };
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        place = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
    *place = value;
    // What stood there before is gone, and with it what was said about it.
    given.wide.retain(|at| at != &pointer && !at.starts_with(&format!("{pointer}/")));
    given.wide.extend(wide.into_iter().map(|at| format!("{pointer}{at}")));
    Ok(())
}

/// Refuses a name that is longer than names may be.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > limits::NAME_BYTES {
        let said = format!("{what} must have 1 to {} bytes", limits::NAME_BYTES);
        return Err(Problem::new(Code::Usage, said));
    }
    Ok(())
}

/// Refuses a value that is larger than values may be.
pub(crate) fn check_size(what: &str, value: &Value) -> Result<(), Problem> {
    let bytes = canonical::to_string(value).len();
    if bytes > limits::VALUE_BYTES {
        let said = format!("{what} has {bytes} bytes; at most {} are taken", limits::VALUE_BYTES);
        return Err(Problem::new(Code::LimitExceeded, said)
            .next("put the bulk into a file, and give its path"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_set_by_path_as_json_or_text() {
        let mut given = Given { value: json!({"a": {"b": 1}}), wide: Vec::new() };
        for assignment in ["a.c=true", "name=Ada = x", "n=123456789012345678901234567890"] {
            set(&mut given, assignment).expect("it can be set");
        }
        let wide = "123456789012345678901234567890";
        let expected = json!({"a": {"b": 1, "c": true}, "name": "Ada = x", "n": wide});
        assert_eq!(given.value, expected);
        assert_eq!(given.wide, ["/n"]);
        assert!(set(&mut given, "name.first=x").is_err(), "a text has no fields");
        assert!(set(&mut given, "novalue").is_err());
    }
}
