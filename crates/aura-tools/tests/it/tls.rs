use std::sync::Arc;
use std::time::Duration;

use aura_core::Code;
use aura_tools::Options;
use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::crypto::aws_lc_rs;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{raw, write_and_close};
use crate::support::Tools;

/// A server that says which version of HTTP it was asked in, with its certificate.
async fn server(alpn: &[&str]) -> (String, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let root = made.cert.der().to_vec();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let version =
        |request: Request<axum::body::Body>| async move { format!("{:?}", request.version()) };
    let service = TowerToHyperService::new(Router::new().fallback(version));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (format!("https://localhost:{port}/"), root)
}

fn trusting(root: Vec<u8>) -> Tools {
    Tools::with(
        Options { extra_roots: vec![root], ..Options::default() },
        &["localhost", "127.0.0.1"],
    )
}

#[tokio::test]
async fn http_2_and_1_over_tls() {
    for (alpn, version) in [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1")] {
        let (url, root) = server(alpn).await;
        let output = trusting(root).http(json!({"method": "POST", "url": url, "json": 1})).await;
        assert_eq!(output["body"], version);
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_certain() {
    let (url, root) = server(&["http/1.1"]).await;
    let (_, another) = server(&["http/1.1"]).await;
    let verdict = trusting(another).http_verdict(json!({"method": "POST", "url": url})).await;
    assert_eq!(verdict, (Code::NetworkError, true));
    let other_name = url.replace("localhost", "127.0.0.1");
    let verdict =
        trusting(root.clone()).http_verdict(json!({"method": "POST", "url": other_name})).await;
    assert_eq!(verdict, (Code::NetworkError, true));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let no_tls = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            write_and_close(stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    });
    let verdict = trusting(root).http_verdict(json!({"method": "POST", "url": no_tls})).await;
    assert_eq!(verdict, (Code::NetworkError, true));
}

#[tokio::test]
async fn a_handshake_that_hangs_is_a_certain_timeout() {
    let (url, _) = raw(|_| async {}).await;
    let url = url.replace("http:", "https:");
    let tools = Tools::local().within(Duration::from_millis(400));
    assert_eq!(
        tools.http_verdict(json!({"method": "POST", "url": url})).await,
        (Code::Timeout, true)
    );
}
