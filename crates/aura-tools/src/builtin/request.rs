//! `http.request`: one HTTP request.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aura_core::EffectClass;
use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::Success;
use aura_core::tool::{ClassRule, ToolDef};

use crate::http::{self, Input, Network, Output, Plan};
use crate::typed::{self, About};

const HELP: &str = r#"
Sends one HTTP request. GET, HEAD and OPTIONS are reads and follow up to 5 redirects; PUT and DELETE are `idempotent`;
every other method is `irreversible` unless the node says otherwise. Everything but reads carries the call's
`Idempotency-Key`.

A status outside `accept_status` (default `["2xx"]`) is a failure: 429 `RATE_LIMIT`, 401 and 403 `AUTH_EXPIRED`, 404
and 410 `NOT_FOUND`, 409, 412 and 423 `CONFLICT`, 408 and 504 `TIMEOUT`, 502 and 503 `UNAVAILABLE`, other 5xx
`INTERNAL`, the rest `INVALID_INPUT`. After a 5xx, or when an answer is lost, it is in doubt whether the request acted.

Loopback and private addresses are `FORBIDDEN` unless the run allows the host; link-local ones always are.

```json
{
  "method": "POST",
  "url": "https://pay.test/refunds",
  "headers": {"authorization": "Bearer …"},
  "query": {"dry_run": false, "tag": ["a", "b"]},
  "json": {"order": 17, "amount": 40},
  "accept_status": ["2xx", 409]
}
```
"#;

struct Request {
    def: ToolDef,
    network: Network,
}

#[async_trait]
impl Activity for Request {
    fn def(&self) -> &ToolDef {
        &self.def
    }

    async fn perform(&self, mut call: Call) -> Result<Success, Failed> {
        let class = self.def.class.class_of(&call.args);
        let input: Input = typed::parse(call.args.take())?;
        let plan = Plan::new(input, class, call.key)?;
        // Boxed: the state of a request in flight is large, and calls are held in lists.
        Box::pin(http::perform(&self.network, plan, &call)).await
    }
}

pub(super) fn def() -> ToolDef {
    let cases = [
        ("GET", EffectClass::Read),
        ("HEAD", EffectClass::Read),
        ("OPTIONS", EffectClass::Read),
        ("PUT", EffectClass::Idempotent),
        ("DELETE", EffectClass::Idempotent),
    ];
    let about = About {
        name: "http.request",
        summary: "Send an HTTP request",
        help: HELP,
        class: ClassRule::ByParam {
            param: "method".to_owned(),
            absent: "GET".to_owned(),
            cases: BTreeMap::from(cases.map(|(method, class)| (method.to_owned(), class))),
            otherwise: EffectClass::Irreversible,
        },
        secret_params: &["url", "headers", "body"],
        inline: false,
    };
    about.define::<Input, Output>()
}

pub(super) fn make(network: &Network) -> Arc<dyn Activity> {
    Arc::new(Request { def: def(), network: network.clone() })
}
