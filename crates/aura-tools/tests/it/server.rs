//! Servers on loopback: one that behaves, one that does what a test tells it to.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves a router; the URL has no slash at its end.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// Answers every request with what `answer` makes of it.
pub(crate) async fn answering<F>(answer: F) -> String
where
    F: Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static,
{
    serve(Router::new().fallback(move |request: Request<Body>| {
        let response = answer(request);
        async move { response }
    }))
    .await
}

/// Hands each connection to `talk`, after the head of its request was read.
pub(crate) async fn raw<F, T>(talk: F) -> (String, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            read_head(&mut stream).await;
            tokio::spawn(talk(stream));
        }
    });
    (format!("http://{address}"), connections)
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
}

/// Writes text, then holds the connection open for ever.
pub(crate) async fn write_and_hold(mut stream: TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes()).await;
    std::future::pending::<()>().await;
}

/// Writes bytes, then closes.
pub(crate) async fn write_and_close(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
}
