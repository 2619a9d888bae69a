//! Where a read goes next.

use aura_core::{Code, Failure};
use reqwest::Response;
use reqwest::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RANGE,
};
use url::Url;

use super::plan::{Hop, Plan};

/// What may go along to another origin; every other header may carry a secret.
const HARMLESS: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, RANGE];

/// The next request, if the answer is a redirect that is to be followed.
///
/// # Errors
/// The redirect can't be followed; certain, because only reads are.
pub(super) fn next(plan: &Plan, hop: &Hop, response: &Response) -> Result<Option<Hop>, Failure> {
    let status = response.status().as_u16();
    let follows = matches!(status, 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION);
    let (true, Some(location)) = (plan.read && follows && !plan.accepts(status), location) else {
        return Ok(None);
    };
    let url = std::str::from_utf8(location.as_bytes()).ok().and_then(|to| hop.url.join(to).ok());
    let Some(url) = url else {
        let what = format!("{} redirects to something that is no URL", hop.shown());
        return Err(Failure::certain(Code::InvalidInput, what));
    };
    follow(hop, url).map(Some)
}

fn follow(hop: &Hop, mut url: Url) -> Result<Hop, Failure> {
    let (method, body) = (hop.method.clone(), hop.body.clone());
    if url.origin() == hop.url.origin() {
        return Ok(Hop { method, url, headers: hop.headers.clone(), body });
    }
    if body.is_some() {
        let what =
            format!("{} redirects to another origin, which must not get the body", hop.shown());
        return Err(Failure::certain(Code::Forbidden, what));
    }
    // Credentials in a redirect would be somebody else's choice.
    url = super::plan::public(&url);
    let mut headers = HeaderMap::new();
    for name in HARMLESS {
        if let Some(value) = hop.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    Ok(Hop { method, url, headers, body: None })
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use reqwest::header::{AUTHORIZATION, COOKIE, HeaderValue};

    use super::*;

    fn hop(url: &str, body: Option<&'static str>) -> Hop {
        let mut headers = HeaderMap::new();
        for name in [ACCEPT, AUTHORIZATION, COOKIE, HeaderName::from_static("x-api-key")] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        let url = Url::parse(url).unwrap();
        Hop { method: Method::GET, url, headers, body: body.map(Into::into) }
    }

    #[test]
    fn only_the_same_origin_gets_the_headers() {
        let cases = [
            ("https://a.test/y", 4),
            ("https://a.test:443/y", 4),
            ("https://a.test:444/y", 1),
            ("http://a.test/y", 1),
            ("https://b.test/y", 1),
            ("https://sub.a.test/y", 1),
        ];
        for (to, expected) in cases {
            let next = follow(&hop("https://a.test/x", None), Url::parse(to).unwrap()).unwrap();
            assert_eq!(next.headers.len(), expected, "{to}");
            assert!(next.headers.contains_key(ACCEPT), "{to}");
        }
    }

    #[test]
    fn another_origin_gets_neither_body_nor_credentials() {
        let from = hop("http://a.test", Some("x"));
        let refused = follow(&from, Url::parse("http://b.test").unwrap()).err().map(|f| f.code);
        assert_eq!(refused, Some(Code::Forbidden));
        let same = follow(&from, Url::parse("http://a.test/y").unwrap()).unwrap();
        assert!(same.body.is_some());
        let next = follow(&hop("http://a.test", None), Url::parse("http://u:p@b.test/").unwrap());
        assert_eq!(next.unwrap().url.as_str(), "http://b.test/");
    }
}
