//! From what an expression gives back to JSON.

use aura_core::limits;
use minijinja::Value as Shown;
use minijinja::value::ValueKind;
use serde_json::{Map, Number, Value};

use super::context::{Gathered, Json};

/// Depth at which a value made by an expression counts as broken.
const DEPTH: usize = 100;

/// The JSON value; undefined parts are null, as paths below null are.
///
/// # Errors
/// Something that JSON has no form for; the text says what.
pub(crate) fn to_json(shown: &Shown) -> Result<Value, String> {
    let mut room = limits::VALUE_BYTES;
    convert(shown, 0, &mut room)
}

/// `room` is what may still be made: a part takes at least a byte, so that a list which exists only as a rule
/// (`[1] * 100000000`) is refused before it takes memory.
fn convert(shown: &Shown, depth: usize, room: &mut usize) -> Result<Value, String> {
    if depth > DEPTH {
        return Err(format!("the value is nested deeper than {DEPTH}"));
    }
    *room = room
        .checked_sub(shown.as_str().map_or(1, str::len))
        .ok_or_else(|| format!("the value is above {} bytes", limits::VALUE_BYTES))?;
    if let Some(json) = shown.downcast_object_ref::<Json>() {
        return Ok(json.value().cloned().unwrap_or_default());
    }
    if let Some(gathered) = shown.downcast_object_ref::<Gathered>() {
        return Ok(gathered.to_json());
    }
    match shown.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(Value::Null),
        ValueKind::Bool => Ok(Value::Bool(shown.is_true())),
        ValueKind::Number => number(shown),
        ValueKind::String => {
            Ok(Value::String(shown.as_str().map_or_else(|| shown.to_string(), str::to_owned)))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = shown.try_iter().map_err(|e| super::compile::explain(&e))?;
            items
                .map(|item| convert(&item, depth + 1, room))
                .collect::<Result<_, _>>()
                .map(Value::Array)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in shown.try_iter().map_err(|e| super::compile::explain(&e))? {
                let value = shown.get_item(&key).map_err(|e| super::compile::explain(&e))?;
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                map.insert(name, convert(&value, depth + 1, room)?);
            }
            Ok(Value::Object(map))
        }
        other => Err(format!("a value of kind {other} can't be used here")),
    }
}

fn number(shown: &Shown) -> Result<Value, String> {
    if shown.is_integer() {
        if let Some(integer) = shown.as_i64() {
            return Ok(Value::from(integer));
        }
        return match u64::try_from(shown.clone()) {
            Ok(integer) => Ok(Value::from(integer)),
            // Wider integers become text, as they do where values enter the log.
            Err(_) => Ok(Value::String(shown.to_string())),
        };
    }
    let float = f64::try_from(shown.clone()).map_err(|e| super::compile::explain(&e))?;
    Number::from_f64(float).map(Value::Number).ok_or_else(|| "the number is not finite".to_owned())
}
