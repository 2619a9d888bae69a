use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aura_core::{Code, limits};
use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::json;

use crate::server::answering;
use crate::support::Tools;

fn to(status: u16, location: &str) -> Response<Body> {
    Response::builder().status(status).header("location", location).body(Body::empty()).unwrap()
}

fn headers(request: &Request<Body>) -> Response<Body> {
    let names: Vec<&str> = request.headers().keys().map(axum::http::HeaderName::as_str).collect();
    let body = json!({"path": request.uri().path(), "headers": names}).to_string();
    Response::builder().header("content-type", "application/json").body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn reads_follow_redirects() {
    let url = answering(|request| match request.uri().path() {
        "/301" => to(301, "/302"),
        "/302" => to(302, "303"),
        "/303" => to(303, "/307?x"),
        "/307" => to(307, "/308"),
        "/308" => to(308, "/end#fragment"),
        _ => headers(&request),
    })
    .await;
    let args = json!({"url": format!("{url}/301"), "headers": {"authorization": "Bearer t", "x-key": "k"}});
    let output = Tools::local().http(args).await;
    assert_eq!(output["url"], format!("{url}/end"));
    let names = output["json"]["headers"].as_array().unwrap();
    assert!(names.contains(&json!("authorization")) && names.contains(&json!("x-key")));
}

#[tokio::test]
async fn another_origin_gets_no_secrets() {
    let other = answering(|request| headers(&request)).await;
    let target = other.clone();
    let url = answering(move |_| to(302, &format!("{target}/end"))).await;
    let secrets =
        json!({"authorization": "Bearer t", "cookie": "c=1", "x-api-key": "k", "accept": "text/x"});
    let tools = Tools::local();
    let output = tools.http(json!({"url": url, "headers": secrets})).await;
    assert_eq!(output["url"], format!("{other}/end"));
    let names = output["json"]["headers"].as_array().unwrap();
    for secret in ["authorization", "cookie", "x-api-key"] {
        assert!(!names.contains(&json!(secret)), "{secret} in {names:?}");
    }
    assert!(names.contains(&json!("accept")));
    let verdict = tools.http_verdict(json!({"url": url, "body": "secret"})).await;
    assert_eq!(verdict, (Code::Forbidden, true));
}

#[tokio::test]
async fn each_hop_is_checked() {
    let targets =
        ["http://169.254.169.254/latest", "http://[::1]:9/", "http://localhost:9/", "//10.0.0.1/"];
    for target in targets {
        let url = answering(move |_| to(302, target)).await;
        let host = url.trim_start_matches("http://");
        let tools = Tools::with(aura_tools::Options::default(), &[host]);
        let verdict = tools.http_verdict(json!({"url": url})).await;
        assert_eq!(verdict, (Code::Forbidden, true), "{target}");
    }
    for target in ["file:///etc/passwd", "ftp://127.0.0.1/", "http://"] {
        let url = answering(move |_| to(302, target)).await;
        let verdict = Tools::local().http_verdict(json!({"url": url})).await;
        assert_eq!(verdict, (Code::InvalidInput, true), "{target}");
    }
}

#[tokio::test]
async fn a_circle_ends() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let url = answering(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        to(302, "/")
    })
    .await;
    let verdict = Tools::local().http_verdict(json!({"url": url})).await;
    assert_eq!(verdict, (Code::LimitExceeded, true));
    assert_eq!(count.load(Ordering::SeqCst), limits::HTTP_REDIRECTS + 1);
}

#[tokio::test]
async fn what_may_have_acted_is_never_followed() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let url = answering(move |request| {
        counter.fetch_add(1, Ordering::SeqCst);
        to(request.uri().path()[1..].parse().unwrap(), "/200")
    })
    .await;
    let tools = Tools::local();
    let cases =
        [("POST", 302, false), ("PUT", 303, false), ("DELETE", 301, false), ("POST", 307, true)];
    for (method, status, certain) in cases {
        let args = json!({"method": method, "url": format!("{url}/{status}")});
        assert_eq!(
            tools.http_verdict(args).await,
            (Code::InvalidInput, certain),
            "{method} {status}"
        );
    }
    assert_eq!(count.load(Ordering::SeqCst), cases.len());
    for method in ["GET", "POST"] {
        let args = json!({"method": method, "url": format!("{url}/302"), "accept_status": ["3xx"]});
        let output = tools.http(args).await;
        assert_eq!(
            (&output["status"], &output["headers"]["location"]),
            (&json!(302), &json!("/200"))
        );
    }
}
