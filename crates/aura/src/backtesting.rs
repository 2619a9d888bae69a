//! Backtests for commands: a flow file against recorded runs, and what came of each in words.

use std::sync::Arc;

use aura_core::error::Problem;
use aura_core::id::RunId;
use aura_core::task::{TaskResult, TaskSpec};
use aura_engine::{PureCalls, backtest};
use aura_graph::backtest::{Changed, Lack, Lacking, Verdict};
use aura_graph::expr::BlobLookup;
use aura_store::Opened;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::blobs::StoreBlobs;
use crate::commands::diff;
use crate::context::Context;
use crate::flowfiles::FlowFiles;
use crate::order::{Pinned, pin};
use crate::output::{Output, Tone, plain};
use crate::wire;

/// A flow that recorded runs of a store are tried against.
pub(crate) struct Tester<'a> {
    opened: &'a Opened,
    blobs: Arc<StoreBlobs>,
    calls: PureCalls,
    pub(crate) pinned: Pinned,
    /// What pure calls are made on.
    _runtime: Runtime,
}

impl<'a> Tester<'a> {
    /// A flow, with those that it starts, against the runs of a store.
    pub(crate) fn new(opened: &'a Opened, flow: FlowFiles) -> Result<Self, Problem> {
        let runtime = wire::runtime()?;
        let catalog = wire::catalog();
        let pinned = pin(flow.source, flow.files, &catalog, opened.store.salt())?;
        let calls = PureCalls::new(catalog, runtime.handle().clone());
        let blobs = Arc::new(StoreBlobs::new(opened)?);
        Ok(Self { opened, blobs, calls, pinned, _runtime: runtime })
    }

    /// What a recorded run does by the flow.
    pub(crate) fn test(&self, run: RunId) -> Result<Verdict, Problem> {
        let pure = |spec: &TaskSpec, blobs: &dyn BlobLookup| -> Option<TaskResult> {
            self.calls.call(spec, blobs)
        };
        let changed = Changed {
            flow: Arc::clone(&self.pinned.flows.main),
            pin: self.pinned.pin.clone(),
            salt: self.opened.store.salt(),
            blobs: Arc::clone(&self.blobs) as _,
            pure: &pure,
        };
        backtest(&*self.opened.store, run, &changed)
    }
}

/// The word for a verdict.
pub(crate) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "same",
        Verdict::Different(_) => "different",
        Verdict::Needs { .. } => "needs",
        Verdict::Untold(_) => "untold",
    }
}

/// A verdict in its tone.
pub(crate) fn painted(out: &Output, verdict: &Verdict) -> String {
    let tone = match verdict {
        Verdict::Same => Tone::Good,
        Verdict::Different(_) => Tone::Bad,
        Verdict::Needs { .. } | Verdict::Untold(_) => Tone::Warn,
    };
    out.paint(tone, format_args!("{:<9}", word(verdict)))
}

/// What is behind a verdict, in lines.
pub(crate) fn reasons(context: &Context, verdict: &Verdict) -> Vec<String> {
    let names = ["recorded", "now     "];
    match verdict {
        Verdict::Same => Vec::new(),
        Verdict::Different(divergence) => diff::first(context, names, divergence),
        Verdict::Needs { needs, divergence } => {
            let mut lines: Vec<_> = needs.iter().map(lack).collect();
            if let Some(divergence) = divergence {
                lines.extend(diff::first(context, names, divergence));
            }
            lines
        }
        Verdict::Untold(why) => vec![plain(why)],
    }
}

fn lack(lack: &Lack) -> String {
    let step = plain(lack.step.as_str());
    match &lack.what {
        Lacking::Call(tool, class) => {
            format!("{step} calls {} ({class}), and no recorded call was the same", plain(tool))
        }
        Lacking::Signal(name) => format!("{step} waits for the signal '{}'", plain(name)),
        Lacking::Answer => format!("{step} asks for an approval that nobody answered"),
        Lacking::Child(flow) => {
            format!("{step} starts a run of '{}', and no recorded child was the same", plain(flow))
        }
    }
}

/// A verdict for programs.
pub(crate) fn document(run: RunId, verdict: &Verdict) -> Value {
    let mut document = json!({ "run_id": run, "verdict": word(verdict) });
    let told = |needs: &[Lack]| -> Value {
        let entry = |lack: &Lack| match &lack.what {
            Lacking::Call(tool, class) => {
                json!({ "step": lack.step, "needs": "call", "tool": tool, "class": class })
            }
            Lacking::Signal(name) => {
                json!({ "step": lack.step, "needs": "signal", "signal": name })
            }
            Lacking::Answer => json!({ "step": lack.step, "needs": "answer" }),
            Lacking::Child(flow) => json!({ "step": lack.step, "needs": "child", "flow": flow }),
        };
        needs.iter().map(entry).collect()
    };
    match verdict {
        Verdict::Same => {}
        Verdict::Different(divergence) => document["divergence"] = diff::divergence(divergence),
        Verdict::Needs { needs, divergence } => {
            document["needs"] = told(needs);
            document["divergence"] = json!(divergence.as_deref().map(diff::divergence));
        }
        Verdict::Untold(why) => document["why"] = json!(why),
    }
    document
}
