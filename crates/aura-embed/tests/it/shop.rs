//! A shop that counts what it is asked for, and can hold an answer back until its customer is dead.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

#[derive(Default)]
struct Book {
    /// Requests so far.
    requests: usize,
    /// The request whose answer is held back for ever.
    holds: usize,
    /// How often each booking came, by its key.
    bookings: BTreeMap<String, usize>,
}

type Shared = Arc<(Mutex<Book>, Sender<()>)>;

pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    /// Told when an answer is held back.
    pub(crate) held: Receiver<()>,
    shared: Shared,
    _runtime: Runtime,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let runtime = Runtime::new().unwrap();
        let (tell, held) = channel();
        let shared: Shared = Arc::new((Mutex::default(), tell));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new().route("/{what}/{id}", any(serve)).with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, held, shared, _runtime: runtime }
    }

    /// The request of this number is never answered.
    pub(crate) fn hold(&self, number: usize) {
        self.shared.0.lock().unwrap().holds = number;
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.0.lock().unwrap().requests
    }

    /// Bookings with different keys.
    pub(crate) fn booked(&self) -> usize {
        self.shared.0.lock().unwrap().bookings.len()
    }
}

async fn serve(
    State(shared): State<Shared>,
    Path((_, id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Json<Value> {
    let holds = {
        let mut book = shared.0.lock().unwrap();
        book.requests += 1;
        if method == Method::PUT {
            let key = headers.get("idempotency-key").unwrap().to_str().unwrap();
            *book.bookings.entry(format!("{key} {id}")).or_default() += 1;
        }
        book.requests == book.holds
    };
    if holds {
        shared.1.send(()).unwrap();
        std::future::pending::<()>().await;
    }
    Json(json!({ "price": 2_000 }))
}
