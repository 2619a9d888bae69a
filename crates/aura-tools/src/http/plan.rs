//! What a call asks for, checked before anything is sent.

use std::collections::BTreeMap;

use aura_core::{Code, EffectClass, Failure, Hash, canonical, limits};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::typed::given;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The method; GET if absent.
    #[serde(default)]
    #[schemars(regex(pattern = "^[A-Za-z]{1,20}$"))]
    pub(super) method: Option<String>,
    /// An absolute http or https URL.
    pub(super) url: String,
    /// Headers to send, at most 100.
    #[serde(default)]
    pub(super) headers: Option<BTreeMap<String, String>>,
    /// Parameters appended to the query of the URL; a list repeats its name, `null` leaves it out.
    #[serde(default)]
    pub(super) query: Option<BTreeMap<String, Option<Parameter>>>,
    /// The body as JSON.
    #[serde(default, deserialize_with = "given")]
    pub(super) json: Option<Value>,
    /// The body as text.
    #[serde(default)]
    pub(super) body: Option<String>,
    /// The statuses that count as success; `["2xx"]` if absent.
    #[serde(default)]
    pub(super) accept_status: Option<Vec<Accept>>,
    /// Bytes of the body that are kept, at most 16 MiB; what is longer is cut.
    #[serde(default)]
    pub(super) max_bytes: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Parameter {
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Flag(bool),
    Number(serde_json::Number),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => canonical::to_string(&Value::Number(number)),
        }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Accept {
    /// One status.
    Status(#[schemars(range(min = 100, max = 599))] u16),
    /// A class of them.
    Class(#[schemars(regex(pattern = "^[1-5]xx$"))] String),
}

/// A request that can be sent.
pub(crate) struct Plan {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    accept: Option<Vec<Accept>>,
    /// Whether it leaves no mark, so that redirects may be followed.
    pub(super) read: bool,
    pub(super) max_bytes: usize,
}

/// One request on the way to the answer.
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Hop {
    /// The URL for messages: without what may be secret.
    pub(super) fn shown(&self) -> String {
        let mut url = public(&self.url);
        url.set_query(None);
        url.to_string()
    }
}

/// The URL without credentials and fragment.
pub(super) fn public(url: &Url) -> Url {
    let mut url = url.clone();
    // These fail only for URLs that can't have credentials, which http and https can.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url
}

/// Headers that the connection sets, or that would change whom the request is for.
const RESERVED: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "proxy-authorization",
    "proxy-connection",
];

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Plan {
    /// Checks the arguments of a call of class `class` with the idempotency key `key`.
    ///
    /// # Errors
    /// `INVALID_INPUT`, certain: nothing was sent.
    pub(crate) fn new(input: Input, class: EffectClass, key: Hash) -> Result<Self, Failure> {
        let method = method(input.method.as_deref())?;
        let read = class == EffectClass::Read;
        let mut url = Url::parse(&input.url).map_err(|e| invalid(format!("not a URL: {e}")))?;
        append_query(&mut url, input.query.unwrap_or_default());
        let mut headers = headers(input.headers.unwrap_or_default())?;
        if !read {
            let value = HeaderValue::from_str(&key.to_string())
                .map_err(|e| Failure::certain(Code::Internal, e.to_string()))?;
            if headers.insert(IDEMPOTENCY_KEY, value).is_some() {
                return Err(invalid("the Idempotency-Key is the call's own; leave the header out"));
            }
        }
        let body = match (input.json, input.body) {
            (Some(_), Some(_)) => return Err(invalid("give either 'json' or 'body'")),
            (Some(json), None) => {
                let kind = HeaderValue::from_static("application/json");
                headers.entry(CONTENT_TYPE).or_insert(kind);
                // The same bytes on every attempt.
                Some(Bytes::from(canonical::to_vec(&json)))
            }
            (None, Some(text)) => {
                let kind = HeaderValue::from_static("text/plain; charset=utf-8");
                headers.entry(CONTENT_TYPE).or_insert(kind);
                Some(Bytes::from(text))
            }
            (None, None) => None,
        };
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        check_accept(input.accept_status.as_deref().unwrap_or_default())?;
        let max = input.max_bytes.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        Ok(Self {
            method,
            url,
            headers,
            body,
            accept: input.accept_status,
            read,
            max_bytes: max.min(limits::HTTP_BODY_BYTES),
        })
    }

    pub(super) fn first_hop(&self) -> Hop {
        Hop {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
        }
    }

    /// Whether a status counts as success.
    pub(super) fn accepts(&self, status: u16) -> bool {
        let Some(accept) = &self.accept else { return (200..300).contains(&status) };
        accept.iter().any(|accept| match accept {
            Accept::Status(wanted) => *wanted == status,
            Accept::Class(class) => {
                class.as_bytes().first() == status.to_string().as_bytes().first()
            }
        })
    }
}

fn invalid(what: impl Into<String>) -> Failure {
    Failure::certain(Code::InvalidInput, what)
}

/// The method in upper case, as the effect class is determined.
fn method(text: Option<&str>) -> Result<Method, Failure> {
    let text = text.unwrap_or("GET").to_ascii_uppercase();
    let fits = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase());
    // CONNECT makes a tunnel, and TRACE would give back the headers with their secrets.
    if !fits || text == "CONNECT" || text == "TRACE" {
        return Err(invalid(format!("'{}' is not a method that can be sent", text.escape_debug())));
    }
    Method::from_bytes(text.as_bytes()).map_err(|e| invalid(e.to_string()))
}

fn append_query(url: &mut Url, query: BTreeMap<String, Option<Parameter>>) {
    let given = query.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in given {
        let values = match value {
            Parameter::One(value) => vec![value],
            Parameter::Many(values) => values,
        };
        for value in values {
            url.query_pairs_mut().append_pair(&name, &value.text());
        }
    }
}

fn headers(given: BTreeMap<String, String>) -> Result<HeaderMap, Failure> {
    if given.len() > limits::HTTP_HEADERS {
        let what = format!("more than {} headers", limits::HTTP_HEADERS);
        return Err(Failure::certain(Code::LimitExceeded, what));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let bad = |what: &str| invalid(format!("header '{}' {what}", name.escape_debug()));
        let known: HeaderName = name.parse().map_err(|_| bad("has no valid name"))?;
        if RESERVED.contains(&known.as_str()) {
            return Err(bad("is set by the connection"));
        }
        // Never with the value in the message: it may be a secret.
        let mut value =
            HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad("has no valid value"))?;
        // Any of them may carry a secret: kept out of debug output and of the tables of HTTP/2.
        value.set_sensitive(true);
        if headers.insert(known, value).is_some() {
            return Err(bad("is given twice"));
        }
    }
    Ok(headers)
}

fn check_accept(accept: &[Accept]) -> Result<(), Failure> {
    for accept in accept {
        let fits = match accept {
            Accept::Status(status) => (100..600).contains(status),
            Accept::Class(class) => {
                matches!(class.as_bytes(), [b'1'..=b'5', b'x', b'x'])
            }
        };
        if !fits {
            return Err(invalid(format!("{accept:?} is no status, such as 404 or \"2xx\"")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(args: Value, class: EffectClass) -> Result<Plan, Failure> {
        let input = serde_json::from_value(args).map_err(|e| invalid(e.to_string()))?;
        Plan::new(input, class, Hash::ZERO)
    }

    #[test]
    fn query_is_appended() {
        let args = json!({"url": "http://a.test/x?k=1#f", "query": {
            "a": "b c&d", "n": 1.0, "big": 9_007_199_254_740_993_u64, "t": true, "none": null, "l": ["x", 2]
        }});
        let plan = plan(args, EffectClass::Read).unwrap();
        let expected = "http://a.test/x?k=1&a=b+c%26d&big=9007199254740993&l=x&l=2&n=1&t=true#f";
        assert_eq!(plan.url.as_str(), expected);
    }

    #[test]
    fn key_goes_with_everything_but_reads() {
        let args = json!({"url": "http://a.test"});
        let header =
            |class| plan(args.clone(), class).unwrap().headers.get(IDEMPOTENCY_KEY).cloned();
        assert_eq!(header(EffectClass::Read), None);
        for class in [EffectClass::Idempotent, EffectClass::Irreversible] {
            assert_eq!(header(class).unwrap(), Hash::ZERO.to_string());
        }
    }

    #[test]
    fn nonsense_is_bad_input_and_tells_no_secret() {
        let many: BTreeMap<_, _> =
            (0..=limits::HTTP_HEADERS).map(|n| (format!("h{n}"), "v")).collect();
        let cases = [
            json!({"url": "no url"}),
            json!({"url": "http://a.test", "method": "CONNECT"}),
            json!({"url": "http://a.test", "method": "trace"}),
            json!({"url": "http://a.test", "method": "GE T"}),
            json!({"url": "http://a.test", "method": ""}),
            json!({"url": "http://a.test", "headers": {"host": "b.test"}}),
            json!({"url": "http://a.test", "headers": {"Content-Length": "1"}}),
            json!({"url": "http://a.test", "headers": {"a b": "hunter2"}}),
            json!({"url": "http://a.test", "headers": {"x": "hunter2\r\ny: z"}}),
            json!({"url": "http://a.test", "headers": {"x": "hunter2", "X": "b"}}),
            json!({"url": "http://a.test", "headers": {"idempotency-key": "hunter2"}}),
            json!({"url": "http://a.test", "json": null, "body": "x"}),
            json!({"url": "http://a.test", "accept_status": ["6xx"]}),
            json!({"url": "http://a.test", "accept_status": ["2xxx"]}),
            json!({"url": "http://a.test", "accept_status": [99]}),
            json!({"url": "http://a.test", "unknown": 1}),
        ];
        for args in cases {
            let failure = plan(args.clone(), EffectClass::Irreversible).err().expect("refused");
            assert_eq!((failure.code, failure.certain), (Code::InvalidInput, true), "{args}");
            assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        }
        let args = json!({"url": "http://a.test", "headers": many});
        let failure = plan(args, EffectClass::Read).err().map(|f| f.code);
        assert_eq!(failure, Some(Code::LimitExceeded));
    }

    #[test]
    fn accepted_statuses() {
        let cases = [
            (json!(null), 200, true),
            (json!(null), 299, true),
            (json!(null), 304, false),
            (json!([]), 200, false),
            (json!([404]), 404, true),
            (json!([404]), 200, false),
            (json!(["2xx", 404]), 201, true),
            (json!(["4xx"]), 499, true),
            (json!(["4xx"]), 500, false),
        ];
        for (accept, status, expected) in cases {
            let args = json!({"url": "http://a.test", "accept_status": accept});
            let plan = plan(args, EffectClass::Read).unwrap();
            assert_eq!(plan.accepts(status), expected, "{accept} {status}");
        }
    }
}
