//! A download that stalls: its attempt gives no sign of life, and another one is made.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::{Place, id};

/// Answers the first request with half a body and then with silence, every other one whole.
fn stalls_once() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut silent: Vec<TcpStream> = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\n";
            let body = if silent.is_empty() { "01234" } else { "0123456789" };
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
            silent.push(stream);
            if silent.len() > 1 {
                silent.truncate(1);
            }
        }
    });
    address
}

#[test]
fn a_download_that_stalls_is_made_again() {
    let place = Place::new();
    let host = stalls_once().to_string();
    let flow = format!(
        "flow: get\nnodes:\n  - id: get\n    tool: http.request\n    with: {{ url: \"http://{host}/\" }}\n    \
         heartbeat: 8s\n    timeout: 5m\n    retry: {{ initial: 1ms }}\noutput: $steps.get.output.body\n"
    );
    place.file("get.yaml", &flow);
    let args = ["run", "get.yaml", "--key", "k", "--allow-net", &host, "--json"];
    let told = place.aura(&args).exits(0).json();
    assert_eq!(told["output"], "0123456789");
    let run = id("get", "k");
    let events = place.aura(&["events", &run]).exits(0).out;
    assert!(events.contains("activity.heartbeat") && events.contains("{\"bytes\":5}"), "{events}");
    assert!(events.contains("no sign of life within 8000 ms"), "{events}");
    place.aura(&["replay", &run, "--verify"]).exits(0);
}
