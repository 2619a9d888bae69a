//! How a run stands when a command that followed it ends: for people, and as one JSON document.

use std::sync::Arc;

use aura_core::data::Data;
use aura_core::error::{Code, Problem};
use aura_core::ports::{BlobError, Blobs, RunStatus};
use aura_core::time::Span;
use aura_graph::Run;
use aura_graph::state::Phase;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Exit;
use crate::needs::Need;
use crate::output::{Tone, plain};
use crate::{describe, saga, wire};

/// The exit code of a run that stands so.
pub(crate) fn exit(run: &Run) -> Exit {
    match run.status() {
        RunStatus::Completed => Exit::Done,
        status if status.closed() => Exit::Failed,
        _ => Exit::Waiting,
    }
}

/// The JSON document of a run.
pub(crate) fn document(
    run: &Run,
    needs: &[Need],
    blobs: &Arc<dyn Blobs>,
) -> Result<Value, Problem> {
    let (output, error) = match &run.phase {
        Phase::Completed(output) => (value(output, blobs)?, Value::Null),
        Phase::Failed(error, step) => {
            let mut error = json!(error);
            error["step"] = json!(step);
            (Value::Null, error)
        }
        Phase::Cancelled => {
            let error = json!({ "code": Code::Cancelled, "message": "the run was cancelled" });
            (Value::Null, error)
        }
        _ => (Value::Null, Value::Null),
    };
    Ok(json!({
        "run_id": run.id,
        "flow": run.started.as_ref().map(|started| &started.flow.name),
        "status": run.status(),
        "output": output,
        "error": error,
        "saga": saga::end(run),
        "duration_ms": run.at.since(run.began_at()),
        "steps": run.steps,
        "events": run.events,
        "needs": needs,
    }))
}

/// A value of the log, wherever it lies.
pub(crate) fn value(data: &Data, blobs: &Arc<dyn Blobs>) -> Result<Value, Problem> {
    let blob = match data {
        Data::Json(value) => return Ok(Value::clone(value)),
        Data::Blob(blob) => *blob,
    };
    let unreadable = |error: BlobError| {
        let code = match error {
            BlobError::Missing(_) => Code::BlobMissing,
            BlobError::Corrupt(_) => Code::BlobCorrupt,
            BlobError::Unavailable(_) => Code::StoreUnavailable,
            BlobError::Full(_) => Code::StoreFull,
        };
        Problem::new(code, error.to_string()).next("aura store check")
    };
    let bytes = wire::wait_for(blobs.get(blob))?.map_err(unreadable)?;
    serde_json::from_slice(&bytes).map_err(|_| unreadable(BlobError::Corrupt(blob.blob)))
}

/// Prints how a run ended, or what it needs.
pub(crate) fn print(
    context: &Context,
    run: &Run,
    needs: &[Need],
    blobs: &Arc<dyn Blobs>,
) -> Result<(), Problem> {
    let out = &context.out;
    let took = Span(run.at.since(run.began_at()));
    let id = run.id;
    match &run.phase {
        Phase::Completed(output) => {
            let head = out.paint(Tone::Good, "completed");
            out.line(format_args!("{head} {id} in {took}"));
            let output = value(output, blobs)?;
            if !output.is_null() {
                out.line(plain(&serde_json::to_string_pretty(&output).unwrap_or_default()));
            }
        }
        Phase::Failed(error, step) => {
            let at = step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
            let head = out.paint(describe::tone(run.status()), run.status().as_str());
            out.line(format_args!("{head} {id}{at} after {took}"));
            out.line(format_args!("  {}: {}", error.code, plain(&error.message)));
            undone(context, run);
            out.line_next(format_args!("aura explain {}", error.code));
        }
        Phase::Cancelled => {
            let head = out.paint(describe::tone(run.status()), run.status().as_str());
            out.line(format_args!("{head} {id} after {took}"));
            undone(context, run);
        }
        _ => waiting(context, run, needs),
    }
    Ok(())
}

/// What was undone, and what could not be.
fn undone(context: &Context, run: &Run) {
    let Some(end) = saga::end(run) else { return };
    let out = &context.out;
    out.line(format_args!("  undone: {}", saga::undone(end)));
    for left in saga::left(end) {
        out.line(format_args!("  {} {left}", out.paint(Tone::Bad, "not undone:")));
    }
    if end.failed > 0 {
        out.line_next(format_args!("aura show {}, and undo these by hand", run.id));
    }
}

fn waiting(context: &Context, run: &Run, needs: &[Need]) {
    let out = &context.out;
    let head = match run.paused {
        Some(_) => "paused",
        None if needs.is_empty() => "open",
        None => "waiting",
    };
    let head = out.paint(Tone::Warn, head);
    out.line(format_args!("{head} {}", run.id));
    for need in needs {
        out.line(format_args!("  {}", need.what));
        out.line_next(&need.command);
        for other in &need.others {
            out.line(format_args!("  {} {other}", out.paint(Tone::Faint, "or:  ")));
        }
    }
}
