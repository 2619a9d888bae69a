use std::io::Write;
use std::time::Duration;

use aura_core::{Code, limits};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, header};
use axum::routing::any;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::server::{answering, raw, serve, write_and_close, write_and_hold};
use crate::support::{Tools, key};

fn reply(status: u16, kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(body.into()).unwrap()
}

/// Gives back the request as JSON.
async fn mirror() -> String {
    let handler = |request: Request<Body>| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let headers: serde_json::Map<_, _> = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
            .collect();
        axum::Json(json!({
            "method": head.method.as_str(),
            "uri": head.uri.to_string(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        }))
    };
    serve(Router::new().fallback(any(handler))).await
}

#[tokio::test]
async fn a_get_gives_status_headers_and_json() {
    let url = answering(|_| {
        let mut response =
            reply(200, "Application/Problem+JSON; charset=utf-8", r#"{"a":[1,2.5]}"#);
        response.headers_mut().append("X-Two", "a".parse().unwrap());
        response.headers_mut().append("x-two", "b".parse().unwrap());
        response
    })
    .await;
    let secret = url.replace("http://", "http://user:pass@");
    let output = Tools::local().http(json!({"url": format!("{secret}/x?q=1#f")})).await;
    assert_eq!(output["status"], 200);
    assert_eq!(output["headers"]["x-two"], "a, b");
    assert_eq!(output["url"], format!("{url}/x?q=1"));
    assert_eq!(output["json"], json!({"a": [1, 2.5]}));
    assert_eq!((&output["bytes"], &output["truncated"]), (&json!(13), &json!(false)));
    assert_eq!(output.get("body"), None);
}

#[tokio::test]
async fn what_is_sent_is_what_was_asked() {
    let url = mirror().await;
    let tools = Tools::local();
    let args = json!({
        "method": "post", "url": format!("{url}/x"), "query": {"a": [1, "b"]}, "headers": {"X-Api": "k"},
        "json": {"z": 1, "a": null}
    });
    let sent = tools.http(args).await["json"].take();
    assert_eq!(sent["method"], "POST");
    assert_eq!(sent["uri"], "/x?a=1&a=b");
    assert_eq!(sent["body"], r#"{"a":null,"z":1}"#);
    assert_eq!(sent["headers"]["x-api"], "k");
    assert_eq!(sent["headers"]["content-type"], "application/json");
    assert_eq!(sent["headers"]["idempotency-key"], key().to_string());
    assert_eq!(sent["headers"]["user-agent"], concat!("aura/", env!("CARGO_PKG_VERSION")));

    let args =
        json!({"method": "PUT", "url": url, "body": "ä", "headers": {"content-type": "text/x"}});
    let sent = tools.http(args).await["json"].take();
    assert_eq!((&sent["body"], &sent["headers"]["content-type"]), (&json!("ä"), &json!("text/x")));
    assert_eq!(sent["headers"]["idempotency-key"], key().to_string());

    for method in ["GET", "options"] {
        let sent = tools.http(json!({"method": method, "url": url})).await["json"].take();
        assert_eq!(sent["headers"].get("idempotency-key"), None, "{method}");
    }
    let head = tools.http(json!({"method": "HEAD", "url": url})).await;
    assert_eq!((&head["status"], &head["bytes"]), (&json!(200), &json!(0)));
}

#[tokio::test]
async fn a_body_in_single_bytes_is_whole() {
    let (url, _) = raw(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        for byte in head.bytes() {
            let _ = stream.write_all(&[byte]).await;
            let _ = stream.flush().await;
        }
        for byte in r#"{"text":"äöü€"}"#.bytes() {
            let chunk = [b'1', b'\r', b'\n', byte, b'\r', b'\n'];
            for byte in chunk {
                let _ = stream.write_all(&[byte]).await;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    })
    .await;
    let output = Tools::local().http(json!({"url": url})).await;
    assert_eq!(output["json"], json!({"text": "äöü€"}));
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let url = answering(|_| {
        let chunks = futures::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from("x".repeat(65_536)))
        });
        reply(201, "text/plain", Body::from_stream(chunks))
    })
    .await;
    let tools = Tools::local();
    let done =
        tools.call("http.request", json!({"method": "POST", "url": url, "max_bytes": 1000})).await;
    let done = done.unwrap();
    assert!(done.truncated);
    assert_eq!(done.output["body"], "x".repeat(1000));
    let output = tools.http(json!({"url": url})).await;
    assert_eq!(output["bytes"], limits::HTTP_BODY_BYTES);
    assert_eq!(output["truncated"], true);
    let output = tools.http(json!({"url": url, "max_bytes": 0})).await;
    assert_eq!((&output["bytes"], &output["truncated"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn a_broken_or_stuck_body_never_changes_the_verdict() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"a\":";
    let (broken, _) = raw(move |stream| write_and_close(stream, head.as_bytes())).await;
    let (stuck, _) = raw(move |stream| write_and_hold(stream, head)).await;
    let tools = Tools::local().within(Duration::from_millis(600));
    for url in [broken, stuck] {
        let output = tools.http(json!({"method": "POST", "url": url})).await;
        assert_eq!(output["body"], "{\"a\":", "{url}");
        assert_eq!(output["truncated"], true, "{url}");
        assert_eq!(output.get("json"), None, "{url}");
    }
    let head = "HTTP/1.1 404 Not Found\r\ncontent-length: 100\r\n\r\nnot her";
    let (url, _) = raw(move |stream| write_and_hold(stream, head)).await;
    let failure = tools.http_failure(json!({"url": url})).await.failure;
    assert_eq!((failure.code, failure.certain), (Code::NotFound, true));
    assert!(failure.message.contains("not her"), "{}", failure.message);
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_undone_within_the_limit() {
    let bomb = gzip(&vec![b'0'; 64 << 20]);
    let mut torn = gzip(b"{\"a\": 1, \"text\": \"as long as it takes to be torn in the middle\"}");
    torn.truncate(torn.len() / 2);
    let url = answering(move |request| {
        assert_eq!(request.headers()["accept-encoding"], "gzip");
        let body = match request.uri().path() {
            "/bomb" => bomb.clone(),
            "/torn" => torn.clone(),
            _ => gzip(b"{\"a\":1}"),
        };
        let mut response = reply(200, "application/json", body);
        response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        response
    })
    .await;
    let tools = Tools::local();
    assert_eq!(tools.http(json!({"url": url})).await["json"], json!({"a": 1}));
    let output = tools.http(json!({"url": format!("{url}/bomb"), "max_bytes": 100_000})).await;
    assert_eq!((&output["bytes"], &output["truncated"]), (&json!(100_000), &json!(true)));
    let output = tools.http(json!({"url": format!("{url}/torn")})).await;
    assert_eq!((&output["truncated"], output.get("json")), (&json!(true), None));
}

#[tokio::test]
async fn odd_json_is_kept_as_far_as_it_goes() {
    let url = answering(|request| {
        let body: Vec<u8> = match request.uri().path() {
            "/wide" => br#"{"a":[1,123456789012345678901234567890]}"#.to_vec(),
            "/long" => format!("[{}1]", "1,".repeat(100_000)).into_bytes(),
            "/bad" => b"{\"a\": ".to_vec(),
            "/deep" => "[".repeat(100_000).into_bytes(),
            _ => vec![b'{', 0xff, b'}'],
        };
        reply(200, "application/json", body)
    })
    .await;
    let tools = Tools::local();
    let output = tools.http(json!({"url": format!("{url}/wide")})).await;
    assert_eq!(output["json"]["a"][1], "123456789012345678901234567890");
    assert_eq!(output["wide_numbers"], json!(["/a/1"]));
    let output = tools.http(json!({"url": format!("{url}/long")})).await;
    assert_eq!(output["json"].as_array().map(Vec::len), Some(100_001));
    for (path, body) in [("/bad", "{\"a\": "), ("/bytes", "{\u{fffd}}")] {
        let output = tools.http(json!({"url": format!("{url}{path}")})).await;
        assert_eq!((&output["body"], output.get("json")), (&json!(body), None), "{path}");
        assert_eq!(output["truncated"], false);
    }
    let output = tools.http(json!({"url": format!("{url}/deep")})).await;
    assert_eq!((&output["bytes"], output.get("json")), (&json!(100_000), None));
}

#[tokio::test]
async fn statuses_become_codes() {
    let url = answering(|request| {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        let mut response = reply(status, "text/plain", "because");
        if matches!(status, 429 | 503) {
            response.headers_mut().insert("retry-after", "3".parse().unwrap());
        }
        response
    })
    .await;
    let tools = Tools::local();
    let cases = [
        (400, Code::InvalidInput, true, None),
        (401, Code::AuthExpired, true, None),
        (404, Code::NotFound, true, None),
        (408, Code::Timeout, false, None),
        (409, Code::Conflict, true, None),
        (429, Code::RateLimit, true, Some(3_000)),
        (500, Code::Internal, false, None),
        (503, Code::Unavailable, false, Some(3_000)),
        (504, Code::Timeout, false, None),
    ];
    for (status, code, certain, wait) in cases {
        let args =
            json!({"method": "POST", "url": format!("{url}/{status}?token=hunter2"), "json": 1});
        let failed = tools.http_failure(args.clone()).await;
        assert_eq!((failed.failure.code, failed.failure.certain), (code, certain), "{status}");
        assert_eq!(failed.retry_after_ms, wait, "{status}");
        let message = failed.failure.message;
        assert!(message.contains("because") && message.contains(&status.to_string()), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        let mut args = args;
        args["accept_status"] = json!([status]);
        assert_eq!(tools.http(args).await["status"], status);
    }
    let args = json!({"method": "POST", "url": format!("{url}/200"), "accept_status": [201]});
    assert_eq!(tools.http_verdict(args).await, (Code::InvalidInput, false));
}

#[tokio::test]
async fn before_a_byte_left_it_is_certain() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let tools = Tools::local();
    for method in ["GET", "POST"] {
        let verdict = tools.http_verdict(json!({"method": method, "url": refused})).await;
        assert_eq!(verdict, (Code::NetworkError, true), "{method}");
    }
    let verdict = tools.http_verdict(json!({"url": "http://no-such-name.invalid/"})).await;
    assert_eq!(verdict, (Code::NetworkError, true));
    for url in ["ftp://127.0.0.1/", "file:///etc/passwd", "data:text/plain,x", "http://"] {
        assert_eq!(
            tools.http_verdict(json!({"url": url})).await,
            (Code::InvalidInput, true),
            "{url}"
        );
    }
}

#[tokio::test]
async fn after_a_byte_left_it_is_in_doubt() {
    let tools = Tools::local().within(Duration::from_millis(600));
    let (closed, connections) = raw(|stream| write_and_close(stream, b"")).await;
    let (torn, _) = raw(|stream| write_and_close(stream, b"HTTP/1.1 20")).await;
    let (noise, _) = raw(|stream| write_and_close(stream, b"hello\r\n\r\n")).await;
    for url in [&closed, &torn, &noise] {
        let verdict = tools.http_verdict(json!({"method": "POST", "url": url, "json": 1})).await;
        assert_eq!(verdict, (Code::NetworkError, false), "{url}");
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1, "nothing is sent again");
    let (silent, _) = raw(|stream| write_and_hold(stream, "")).await;
    let verdict = tools.http_verdict(json!({"method": "POST", "url": silent})).await;
    assert_eq!(verdict, (Code::Timeout, false));
}

#[tokio::test]
async fn connections_are_used_again() {
    let (url, connections) = raw(|mut stream| async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let mut buffer = [0; 4096];
        let _ = stream.write_all(answer).await;
        while let Ok(1..) = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await {
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    let tools = Tools::local();
    for _ in 0..5 {
        assert_eq!(tools.http(json!({"url": url})).await["status"], 200);
    }
    // A connection goes back into its pool on a task of its own, so a second one may be made, never five.
    assert!(connections.load(std::sync::atomic::Ordering::SeqCst) < 5);
}
