//! Taking known secret values out of what comes back from outside, before it is recorded.

use aura_core::error::Failure;
use serde_json::Value;

/// Values shorter than this are left alone: they would match by chance.
const SHORTEST: usize = 8;

const MARK: &str = "[secret]";

/// The forms in which secret values of one call could come back.
#[derive(Debug, Default)]
pub(crate) struct Scrubber {
    needles: Vec<String>,
}

impl Scrubber {
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles = Vec::new();
        for value in values.into_iter().filter(|value| value.len() >= SHORTEST) {
            needles.push(value.to_owned());
            needles.extend(base64_forms(value.as_bytes()));
            needles.push(percent(value));
            // As it stands within a JSON text, without the quotes around it.
            let json = Value::from(value).to_string();
            needles.push(json[1..json.len() - 1].to_owned());
        }
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        Self { needles }
    }

    fn is_idle(&self) -> bool {
        self.needles.is_empty()
    }

    pub(crate) fn text(&self, text: &mut String) {
        for needle in &self.needles {
            if text.contains(needle.as_str()) {
                *text = text.replace(needle.as_str(), MARK);
            }
        }
    }

    pub(crate) fn failure(&self, failure: &mut Failure) {
        self.text(&mut failure.message);
        // A message is cut to its limit where it is made, perhaps in the middle of a secret.
        let end = failure.message.strip_suffix('…').map_or(failure.message.len(), str::len);
        let begun = |needle: &String| {
            let parts =
                (SHORTEST / 2..needle.len()).rev().filter(|at| needle.is_char_boundary(*at));
            parts
                .map(|at| &needle[..at])
                .find(|part| failure.message[..end].ends_with(part))
                .map(str::len)
        };
        if let Some(length) = self.needles.iter().filter_map(begun).max() {
            failure.message.replace_range(end - length..end, MARK);
        }
    }

    pub(crate) fn value(&self, value: &mut Value) {
        if self.is_idle() {
            return;
        }
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => {
                let entries = std::mem::take(map);
                for (mut key, mut item) in entries {
                    self.text(&mut key);
                    self.value(&mut item);
                    map.insert(key, item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Base64 of the bytes as they appear within a longer encoded text: at each of the three offsets, without the
/// characters that neighbours would change.
fn base64_forms(bytes: &[u8]) -> Vec<String> {
    const STANDARD: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut forms = Vec::new();
    for skip in 0..3_usize {
        let Some(inner) = bytes.get((3 - skip) % 3..) else { continue };
        let whole = inner.len() / 3 * 3;
        let mut form = String::new();
        for chunk in inner[..whole].chunks_exact(3) {
            let bits = u32::from(chunk[0]) << 16 | u32::from(chunk[1]) << 8 | u32::from(chunk[2]);
            for shift in [18, 12, 6, 0] {
                form.push(char::from(STANDARD[(bits >> shift & 63) as usize]));
            }
        }
        if form.len() >= SHORTEST {
            forms.push(form.replace('+', "-").replace('/', "_"));
            forms.push(form);
        }
    }
    forms
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_a_secret_is_taken_out() {
        let secret = "s3cr3t/value+1";
        let scrubber = Scrubber::new([secret]);
        // base64 of "user:s3cr3t/value+1", which shifts the secret by two bytes of a triple.
        let shifted = "dXNlcjpzM2NyM3QvdmFsdWUrMQ==";
        let mut value = json!({
            "plain": format!("token {secret} end"),
            "percent": "s3cr3t%2Fvalue%2B1",
            "base64": shifted,
            "s3cr3t/value+1": 1,
        });
        scrubber.value(&mut value);
        let text = value.to_string();
        assert!(!text.contains("s3cr3t"), "{text}");
        assert!(!text.contains("zM2NyM3Qv"), "{text}");
        assert!(text.contains("[secret]"), "{text}");
    }

    #[test]
    fn short_values_are_left_alone() {
        let mut value = json!("the cat sat");
        Scrubber::new(["cat"]).value(&mut value);
        assert_eq!(value, json!("the cat sat"));
    }
}
