//! Backtests over a store: recorded runs, decided again by another flow. Reads only, and calls nothing but what
//! leaves no mark.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::{Call, Heart, Store};
use aura_core::schema::Schema;
use aura_core::task::{Permissions, TaskResult, TaskSpec};
use aura_graph::Run;
use aura_graph::backtest::{Backtest, Changed, Outcomes, Verdict};
use aura_graph::expr::BlobLookup;
use futures::FutureExt as _;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::catalog::Catalog;
use crate::history::{fold_problem, read_all};
use crate::perform::{doubtful, failed, panicked};

/// Decides a recorded run again by a changed flow.
///
/// # Errors
/// The history can't be read, or is damaged.
pub fn backtest(store: &dyn Store, run: RunId, changed: &Changed<'_>) -> Result<Verdict, Problem> {
    let mut outcomes = Outcomes::default();
    read_all(store, run, &mut |commit| {
        let events = commit.events().map_err(|e| fold_problem(run, &e.into()))?;
        for event in &events {
            outcomes.take(event);
        }
        Ok(())
    })?;
    let mut test = Backtest::new(changed, Run::new(run), outcomes);
    read_all(store, run, &mut |commit| test.take(&commit).map_err(|e| fold_problem(run, &e)))?;
    Ok(test.finish())
}

/// Makes calls of class `pure`, each once and in place.
#[derive(Debug)]
pub struct PureCalls {
    catalog: Catalog,
    schemas: BTreeMap<String, Schema>,
    runtime: Handle,
}

impl PureCalls {
    /// Calls of these tools.
    pub fn new(catalog: Catalog, runtime: Handle) -> Self {
        let schema = |def: &aura_core::tool::ToolDef| {
            Schema::compile(&def.input).ok().map(|schema| (def.name.clone(), schema))
        };
        let schemas = catalog.definitions().filter_map(schema).collect();
        Self { catalog, schemas, runtime }
    }

    /// What comes of a call; `None` if it is not pure, is a function, or its arguments are not at hand or do not fit.
    pub fn call(&self, spec: &TaskSpec, blobs: &dyn BlobLookup) -> Option<TaskResult> {
        let activity = self.catalog.activity(&spec.tool)?;
        if spec.class != EffectClass::Pure || !spec.secrets.is_empty() {
            return None;
        }
        let args = match &spec.args {
            Data::Json(args) => Value::clone(args),
            Data::Blob(blob) => Arc::unwrap_or_clone(blobs.value(*blob)?),
        };
        if self.schemas.get(&spec.tool).is_some_and(|schema| !schema.fits(&args)) {
            return None;
        }
        let call = Call {
            run: RunId(uuid::Uuid::nil()),
            step: StepPath::root(),
            attempt: 1,
            key: spec.key,
            args,
            permissions: Arc::new(Permissions::default()),
            timeout: Duration::from_millis(spec.timeout_ms),
            last_details: Value::Null,
            heart: Heart::unheard(),
        };
        // Whatever a tool does, it is told as it is of a run.
        let span = call.timeout;
        let made = AssertUnwindSafe(activity.perform(call)).catch_unwind();
        let made = self.runtime.block_on(async { tokio::time::timeout(span, made).await });
        Some(match made {
            Ok(Ok(Ok(success))) => TaskResult::Succeeded {
                output: Data::from(success.output),
                artifacts: success.artifacts,
                truncated: success.truncated,
            },
            Ok(Ok(Err(over))) => failed(over),
            Ok(Err(_)) => failed(panicked(spec)),
            Err(_) => {
                let message = format!("no outcome within {} ms", span.as_millis());
                failed(doubtful(spec.class, Code::Timeout, message))
            }
        })
    }
}
