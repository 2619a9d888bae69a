//! From an answer to an outcome.
//!
//! The status alone decides between success and failure; the body never does. A body that is too long, too slow or
//! broken is cut where that shows.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aura_core::ports::{Failed, Heart};
use aura_core::task::Success;
use aura_core::{Code, Failure, canonical, limits};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::plan::{Hop, Plan, public};
use crate::typed;

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Output {
    /// The status.
    status: u16,
    /// Headers by lower-case name; several of one name are joined by `, `.
    headers: BTreeMap<String, String>,
    /// The URL that answered, without credentials.
    url: String,
    /// The body, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// The body as text, if it is not JSON; bytes that are no UTF-8 are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Bytes of the body that were kept, after decompression.
    bytes: u64,
    /// Whether the body is longer than what was kept, or ended too early.
    truncated: bool,
    /// JSON pointers to numbers in `json` that are too wide and stand there as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wide_numbers: Vec<String>,
}

/// What is kept of a body for the message of a failure, and how long it is awaited.
const EXCERPT_BYTES: usize = 1_024;
const EXCERPT_TIME: Duration = Duration::from_secs(2);

/// The part of the time that is kept for handing in an answer whose body is slow, at most.
const MARGIN: Duration = Duration::from_millis(200);

/// JSON of more than this is parsed where it holds up nobody.
const LONG_JSON_BYTES: usize = 64 << 10;

struct Body {
    bytes: Vec<u8>,
    cut: bool,
}

/// Reads an answer and says what it means.
pub(super) async fn read(
    plan: &Plan,
    hop: &Hop,
    response: Response,
    (deadline, heart): (Instant, &Heart),
) -> Result<Success, Failed> {
    let status = response.status().as_u16();
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    let until = deadline.checked_sub(MARGIN.min(left / 10)).unwrap_or(deadline);
    if !plan.accepts(status) {
        let retry_after_ms = retry_after(response.headers(), SystemTime::now());
        let asked = (response.status(), response.headers().contains_key(reqwest::header::LOCATION));
        let body = content(response, EXCERPT_BYTES, (until.min(now + EXCERPT_TIME), heart)).await;
        let (code, certain) = meaning(status, plan.read);
        let excerpt = String::from_utf8_lossy(&body.bytes);
        let mut message = format!("{} {} answered {}", hop.method, hop.shown(), asked.0);
        if asked.1 && !plan.read {
            message.push_str(", a redirect, which is followed only for reads");
        }
        if !excerpt.trim().is_empty() {
            message.push_str(": ");
            message.push_str(excerpt.trim());
        }
        let failure = if certain {
            Failure::certain(code, message)
        } else {
            Failure::in_doubt(code, message)
        };
        return Err(Failed { failure, retry_after_ms });
    }
    let headers = headers(response.headers());
    let is_json = is_json(response.headers());
    let body = content(response, plan.max_bytes, (until, heart)).await;
    let truncated = body.cut;
    let bytes = body.bytes.len() as u64;
    let decoded = decode(body, is_json, until).await;
    // Not decoded in time: the verdict stands, the body is lost.
    let truncated = truncated || decoded.is_none();
    let (json, body, wide_numbers) = decoded.unwrap_or_default();
    let url = public(&hop.url).to_string();
    let output = Output { status, headers, url, json, body, bytes, truncated, wide_numbers };
    Ok(Success { truncated, ..Success::of(typed::output(&output)?) })
}

/// At most `max` bytes of the body, as far as they come before `until`.
async fn content(mut response: Response, max: usize, (until, heart): (Instant, &Heart)) -> Body {
    let mut bytes = Vec::new();
    loop {
        heart.beat(json!({ "bytes": bytes.len() }));
        match timeout_at(until, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = max - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return Body { bytes, cut: true };
                }
            }
            Ok(Ok(None)) => return Body { bytes, cut: false },
            Ok(Err(_)) | Err(_) => return Body { bytes, cut: true },
        }
    }
}

/// The body as JSON or as text, and where JSON has numbers that are too wide.
type Decoded = (Option<Value>, Option<String>, Vec<String>);

/// Decodes a body; `None` where that takes too long.
async fn decode(body: Body, is_json: bool, until: Instant) -> Option<Decoded> {
    let short = body.bytes.len() <= LONG_JSON_BYTES;
    let parse = move || {
        let text = match String::from_utf8(body.bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        if is_json
            && !body.cut
            && let Ok((value, wide)) = canonical::ingest(&text)
        {
            return (Some(value), None, wide);
        }
        (None, Some(text), Vec::new())
    };
    if !is_json || short {
        return Some(parse());
    }
    timeout_at(until, tokio::task::spawn_blocking(parse)).await.ok()?.ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

fn headers(given: &HeaderMap) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in given {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|have| {
                have.push_str(", ");
                have.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    headers
}

/// The code of a status that does not count as success, and whether it is certain that nothing was changed.
fn meaning(status: u16, read: bool) -> (Code, bool) {
    match status {
        401 | 403 => (Code::AuthExpired, true),
        404 | 410 => (Code::NotFound, true),
        408 | 504 => (Code::Timeout, false),
        409 | 412 | 423 => (Code::Conflict, true),
        429 => (Code::RateLimit, true),
        // 307 and 308 ask to send it elsewhere, so it was not done here.
        400..500 | 307 | 308 => (Code::InvalidInput, true),
        502 | 503 => (Code::Unavailable, false),
        500.. => (Code::Internal, false),
        // Done, perhaps, in a way that the caller did not count on.
        _ => (Code::InvalidInput, read),
    }
}

/// Milliseconds that `Retry-After` asks to wait, in seconds or as a date; capped.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let ms = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit ask for more than the cap.
        text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1_000)
    } else {
        let wait = httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default();
        u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
    };
    Some(ms.min(limits::HTTP_RETRY_AFTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_their_codes() {
        let cases = [
            (400, Code::InvalidInput, true),
            (401, Code::AuthExpired, true),
            (402, Code::InvalidInput, true),
            (403, Code::AuthExpired, true),
            (404, Code::NotFound, true),
            (405, Code::InvalidInput, true),
            (408, Code::Timeout, false),
            (409, Code::Conflict, true),
            (410, Code::NotFound, true),
            (412, Code::Conflict, true),
            (415, Code::InvalidInput, true),
            (422, Code::InvalidInput, true),
            (423, Code::Conflict, true),
            (425, Code::InvalidInput, true),
            (429, Code::RateLimit, true),
            (451, Code::InvalidInput, true),
            (500, Code::Internal, false),
            (501, Code::Internal, false),
            (502, Code::Unavailable, false),
            (503, Code::Unavailable, false),
            (504, Code::Timeout, false),
            (599, Code::Internal, false),
            (302, Code::InvalidInput, false),
            (307, Code::InvalidInput, true),
            (200, Code::InvalidInput, false),
        ];
        for (status, code, certain) in cases {
            assert_eq!(meaning(status, false), (code, certain), "{status}");
        }
        assert_eq!(meaning(304, true), (Code::InvalidInput, true));
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let day = limits::HTTP_RETRY_AFTER_MS;
        let cases = [
            ("0", Some(0)),
            ("7", Some(7_000)),
            (" 7 ", Some(7_000)),
            ("86401", Some(day)),
            ("99999999999999999999999999", Some(day)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(day)),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
