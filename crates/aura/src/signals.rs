//! Ctrl-C and SIGTERM: the first asks to leave in order, the second leaves at once. A terminal that goes away asks to
//! leave too, but not of a process in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aura_core::error::{Code, Problem};
use tokio::signal::unix::{SignalKind, signal};

/// What the shell is told when a person insisted.
const INTERRUPTED: i32 = 130;

/// Whether somebody asked to leave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// What the loss of the terminal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// As much as Ctrl-C.
    Leaves,
    /// Nothing.
    Ignored,
}

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen(hangup: Hangup) -> Result<Self, Problem> {
        let stop = Self::default();
        let told = stop.clone();
        let thread = std::thread::Builder::new().name("aura-signals".to_owned());
        let spawned = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(told.hear(hangup));
            }
        });
        spawned.map_err(|e| Problem::new(Code::Internal, format!("no thread for signals: {e}")))?;
        Ok(stop)
    }

    /// Whether somebody asked to leave.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    async fn hear(&self, lost: Hangup) {
        let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {
                    if lost == Hangup::Ignored {
                        continue;
                    }
                }
            }
            if self.0.swap(true, Ordering::Relaxed) {
                leave();
            }
        }
    }
}

#[expect(clippy::exit, reason = "the second signal means now; what is durable is durable")]
fn leave() -> ! {
    std::process::exit(INTERRUPTED)
}
