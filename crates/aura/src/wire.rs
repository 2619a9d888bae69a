//! The one place where concrete types meet: which store, which tools, which secrets, which clock.

use std::sync::Arc;

use aura_core::error::{Code, Problem};
use aura_core::ports::Clock;
use aura_core::time::Millis;
use aura_engine::{Catalog, Engine, Options, Ports};
use aura_store::Opened;
use tokio::runtime::{Builder, Runtime};

use crate::context::Context;
use crate::secrets::LocalSecrets;

/// The tools that this binary brings.
pub(crate) fn catalog() -> Catalog {
    Catalog::new(aura_tools::builtin(aura_tools::Options::default()))
}

/// The time of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(jiff::Timestamp::now().as_millisecond())
    }
}

/// The threads on which calls are made and the socket is served.
pub(crate) fn runtime() -> Result<Runtime, Problem> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("aura-worker")
        .build()
        .map_err(|e| Problem::new(Code::Internal, format!("no threads to work on: {e}")))
}

/// An engine over a store that this process owns.
pub(crate) fn engine(
    context: &Context,
    opened: &Opened,
    catalog: Catalog,
    runtime: &Runtime,
) -> Result<Engine, Problem> {
    let ports = Ports {
        store: Arc::clone(&opened.store) as _,
        blobs: Arc::clone(&opened.blobs) as _,
        catalog,
        secrets: Arc::new(LocalSecrets::new(&context.dir)),
        clock: Arc::new(SystemClock),
        runtime: runtime.handle().clone(),
    };
    Engine::start(ports, Options::default())
}

/// Waits for something that needs a runtime, where there is none.
pub(crate) fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, Problem> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime
        .map(|runtime| runtime.block_on(work))
        .map_err(|e| Problem::new(Code::Internal, format!("no runtime: {e}")))
}
