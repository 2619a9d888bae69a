use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aura_core::Code;
use aura_tools::{Lookup, Options};
use axum::body::Body;
use axum::http::Response;
use serde_json::json;

use crate::server::answering;
use crate::support::Tools;

async fn server() -> (String, u16) {
    let url = answering(|_| Response::new(Body::from("secret of the machine"))).await;
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    (url, port)
}

/// Answers with one list after the other, the last one for ever.
struct Answers {
    lists: Vec<Vec<&'static str>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Lookup for Answers {
    async fn lookup(&self, _host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.lists.len() - 1);
        Ok(self.lists[at].iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect())
    }
}

fn names(lists: &[&[&'static str]], allow: &[&str]) -> (Tools, Arc<Answers>) {
    let lists = lists.iter().map(|list| list.to_vec()).collect();
    let answers = Arc::new(Answers { lists, asked: AtomicUsize::new(0) });
    let lookup: Arc<dyn Lookup> = answers.clone();
    (Tools::with(Options { lookup, ..Options::default() }, allow), answers)
}

#[tokio::test]
async fn local_addresses_are_forbidden_unless_allowed() {
    let (_, port) = server().await;
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::1]:{port}/"),
        "http://10.0.0.1/".to_owned(),
        "http://192.168.1.1/".to_owned(),
    ];
    let nothing = Tools::with(Options::default(), &[]);
    for url in &urls {
        let verdict = nothing.http_verdict(json!({"method": "POST", "url": url})).await;
        assert_eq!(verdict, (Code::Forbidden, true), "{url}");
    }
    let port_only = format!("127.0.0.1:{port}");
    let tools = Tools::with(Options::default(), &[&port_only]);
    assert_eq!(tools.http(json!({"url": urls[0]})).await["status"], 200);
    assert_eq!(tools.http(json!({"url": urls[2]})).await["status"], 200);
    for url in [&urls[1], &urls[4], "http://127.0.0.1:1/"] {
        assert_eq!(tools.http_verdict(json!({"url": url})).await, (Code::Forbidden, true), "{url}");
    }
}

#[tokio::test]
async fn an_open_connection_is_no_permission() {
    let (url, _) = server().await;
    let mut tools = Tools::local();
    assert_eq!(tools.http(json!({"url": url})).await["status"], 200);
    tools.permissions.allow_net.clear();
    assert_eq!(tools.http_verdict(json!({"url": url})).await, (Code::Forbidden, true));
}

#[tokio::test]
async fn link_local_and_metadata_are_forbidden_even_if_allowed() {
    let hosts = [
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "100.100.100.200",
    ];
    let tools = Tools::with(Options::default(), &hosts);
    for host in hosts.iter().chain(&["[::ffff:169.254.169.254]", "2852039166"]) {
        let verdict = tools.http_verdict(json!({"url": format!("http://{host}/latest")})).await;
        assert_eq!(verdict, (Code::Forbidden, true), "{host}");
    }
    let (tools, _) = names(&[&["127.0.0.1", "169.254.169.254"]], &["shop.test"]);
    assert_eq!(
        tools.http_verdict(json!({"url": "http://shop.test/"})).await,
        (Code::Forbidden, true)
    );
}

#[tokio::test]
async fn a_name_is_judged_by_all_its_addresses() {
    for list in [&["127.0.0.1"][..], &["93.184.216.34", "10.0.0.1"], &["93.184.216.34", "::1"]] {
        let (tools, _) = names(&[list], &[]);
        let verdict = tools.http_verdict(json!({"url": "http://shop.test/"})).await;
        assert_eq!(verdict, (Code::Forbidden, true), "{list:?}");
    }
    let (tools, _) = names(&[&[]], &[]);
    let verdict = tools.http_verdict(json!({"url": "http://shop.test/"})).await;
    assert_eq!(verdict, (Code::NetworkError, true));
}

#[tokio::test]
async fn only_the_checked_addresses_are_called() {
    let (_, port) = server().await;
    // The second answer would lead nowhere: if the name were resolved again, the call would fail.
    let (tools, answers) = names(&[&["127.0.0.1"], &["127.0.0.2"]], &["shop.test"]);
    let url = format!("http://SHOP.test:{port}/");
    assert_eq!(tools.http(json!({"url": url})).await["status"], 200);
    assert_eq!(answers.asked.load(Ordering::SeqCst), 1);
    // Resolved anew for the next call, whatever connections are open.
    let verdict = tools.http_verdict(json!({"url": url})).await;
    assert_eq!(verdict, (Code::NetworkError, true));
    assert_eq!(answers.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_name_that_turns_local_is_refused() {
    let (_, port) = server().await;
    let (mut tools, _) = names(&[&["127.0.0.1"]], &["shop.test"]);
    let url = format!("http://shop.test:{port}/");
    assert_eq!(tools.http(json!({"url": url})).await["status"], 200);
    tools.permissions.allow_net = vec!["other.test".to_owned()];
    assert_eq!(tools.http_verdict(json!({"url": url})).await, (Code::Forbidden, true));
}

/// Never answers.
struct Silent;

#[async_trait]
impl Lookup for Silent {
    async fn lookup(&self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_lookup_that_hangs_is_a_certain_timeout() {
    let options = Options { lookup: Arc::new(Silent), ..Options::default() };
    let tools = Tools::with(options, &[]).within(Duration::from_millis(50));
    let verdict = tools.http_verdict(json!({"method": "POST", "url": "http://shop.test/"})).await;
    assert_eq!(verdict, (Code::Timeout, true));
}
