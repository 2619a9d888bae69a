//! Calls, as the engine makes them.

use std::sync::Arc;
use std::time::Duration;

use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::{Permissions, Success};
use aura_core::{Code, Hash, RunId, StepPath};
use aura_tools::{Options, builtin};
use serde_json::Value;

/// All tools, with what calls of a test have in common.
pub(crate) struct Tools {
    all: Vec<Arc<dyn Activity>>,
    pub(crate) permissions: Permissions,
    pub(crate) timeout: Duration,
}

impl Tools {
    /// Tools that may call loopback addresses, as `127.0.0.1` and `localhost`.
    pub(crate) fn local() -> Self {
        Self::with(Options::default(), &["127.0.0.1", "localhost"])
    }

    pub(crate) fn with(options: Options, allow_net: &[&str]) -> Self {
        let allow_net = allow_net.iter().map(|&host| host.to_owned()).collect();
        let permissions = Permissions { roots: Vec::new(), allow_net };
        Self { all: builtin(options), permissions, timeout: Duration::from_secs(20) }
    }

    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn get(&self, name: &str) -> &Arc<dyn Activity> {
        let found = self.all.iter().find(|tool| tool.def().name == name);
        found.unwrap_or_else(|| panic!("no tool {name}"))
    }

    pub(crate) async fn call(&self, name: &str, args: Value) -> Result<Success, Failed> {
        let call = Call {
            run: RunId(uuid::Uuid::nil()),
            step: StepPath::from("step"),
            attempt: 1,
            key: key(),
            args,
            permissions: Arc::new(self.permissions.clone()),
            timeout: self.timeout,
            last_details: Value::Null,
            heart: aura_core::ports::Heart::unheard(),
        };
        self.get(name).perform(call).await
    }

    /// The output of an HTTP call that succeeds.
    pub(crate) async fn http(&self, args: Value) -> Value {
        self.call("http.request", args).await.expect("succeeds").output
    }

    /// The failure of an HTTP call that fails.
    pub(crate) async fn http_failure(&self, args: Value) -> Failed {
        self.call("http.request", args).await.expect_err("fails")
    }

    /// Code and certainty of an HTTP call that fails.
    pub(crate) async fn http_verdict(&self, args: Value) -> (Code, bool) {
        let failure = self.http_failure(args).await.failure;
        (failure.code, failure.certain)
    }
}

pub(crate) fn key() -> Hash {
    Hash::of(b"key")
}
