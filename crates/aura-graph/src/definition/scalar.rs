//! What a plain YAML scalar stands for, by the YAML 1.2 core schema, as a JSON value.

use serde_json::{Number, Value};

/// The value of an unquoted scalar.
///
/// # Errors
/// It is a number that JSON does not have (`.inf`, `.nan`, `1e999`).
pub(super) fn plain(text: &str) -> Result<Value, NotJson> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    // Every number starts so; all other texts are done with here.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Ok(Value::String(text.to_owned()));
    }
    if let Some(value) = integer(text) {
        return Ok(value);
    }
    if is_special(text) {
        return Err(NotJson);
    }
    if is_float(text) {
        let number: f64 = text.parse().map_err(|_| NotJson)?;
        return Number::from_f64(number).map(Value::Number).ok_or(NotJson);
    }
    Ok(Value::String(text.to_owned()))
}

/// A number that JSON can't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotJson;

/// `12`, `-3`, `+4`, `0o17`, `0xff`. What is wider than 64 bits stays text, so that no digit is lost.
fn integer(text: &str) -> Option<Value> {
    let based = |digits: &str, radix: u32| {
        let fits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        fits.then(|| match u64::from_str_radix(digits, radix) {
            Ok(number) => Value::from(number),
            Err(_) => Value::String(text.to_owned()),
        })
    };
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::from(number));
    }
    match text.parse::<u64>() {
        Ok(number) => Some(Value::from(number)),
        Err(_) => Some(Value::String(text.to_owned())),
    }
}

fn is_special(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(rest, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_fits && exponent_fits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn core_schema() {
        let cases = [
            ("", json!(null)),
            ("~", json!(null)),
            ("Null", json!(null)),
            ("True", json!(true)),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("0", json!(0)),
            ("-0", json!(0)),
            ("+12", json!(12)),
            ("007", json!(7)),
            ("0o17", json!(15)),
            ("0xFf", json!(255)),
            ("0x", json!("0x")),
            ("0b1", json!("0b1")),
            ("1_000", json!("1_000")),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("18446744073709551616", json!("18446744073709551616")),
            ("-9223372036854775808", json!(-9_223_372_036_854_775_808_i64)),
            ("-9223372036854775809", json!("-9223372036854775809")),
            ("1.5", json!(1.5)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1.2.0", json!("1.2.0")),
            ("1e", json!("1e")),
            (".", json!(".")),
            ("-", json!("-")),
            ("10m", json!("10m")),
            ("2024-01-01", json!("2024-01-01")),
        ];
        for (text, value) in cases {
            assert_eq!(plain(text), Ok(value), "{text}");
        }
        for text in [".inf", "-.INF", ".nan", "1e999"] {
            assert_eq!(plain(text), Err(NotJson), "{text}");
        }
    }
}
