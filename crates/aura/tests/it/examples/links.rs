//! A server for the links of a document: each path answers in a way of its own.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::response::{Html, Redirect};
use axum::routing::{any, get};

/// How long the slow answer takes.
const SLOW: Duration = Duration::from_millis(300);

/// Starts it on a free port; it lives as long as the test.
pub(super) fn serve(page: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a socket for tokio");
    let page = page.replace("links.test", &address.to_string());
    let router = Router::new()
        .route("/fine", get(|| async { "fine" }))
        .route("/moved", get(|| async { Redirect::permanent("/fine") }))
        .route("/broken", any(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "out of order") }))
        .route("/no-head", any(no_head))
        .route("/slow", get(slow))
        .route("/page", get(|| async move { Html(page) }));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, router).await.expect("a server");
        });
    });
    address
}

async fn no_head(method: Method) -> StatusCode {
    if method == Method::HEAD { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::OK }
}

async fn slow() -> &'static str {
    tokio::time::sleep(SLOW).await;
    "at last"
}
