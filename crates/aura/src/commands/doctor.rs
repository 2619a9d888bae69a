//! `aura doctor`: a check of this machine.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use aura_core::error::Problem;
use aura_core::limits;
use aura_core::ports::Store;
use serde_json::{Value, json};

use super::store::bytes;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Tone;

/// Writes by which the disk is judged.
const SAMPLES: usize = 50;
/// A sync that is quicker than this reached no disk.
const NO_DISK: Duration = Duration::from_micros(20);

/// Arguments of `aura doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with 4 if the data directory can't be used.

Examples:
  aura doctor
  aura doctor --json")]
pub(crate) struct Args {}

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    value: Value,
    said: String,
    good: bool,
}

impl Finding {
    fn good(name: &'static str, value: Value, said: impl Into<String>) -> Self {
        Self { name, value, said: said.into(), good: true }
    }

    fn bad(name: &'static str, value: Value, said: impl Into<String>) -> Self {
        Self { name, value, said: said.into(), good: false }
    }
}

/// Does it.
#[expect(clippy::unnecessary_wraps, reason = "all commands have one form")]
pub(crate) fn run(context: &Context, _args: Args) -> Result<Exit, Problem> {
    let version = env!("CARGO_PKG_VERSION");
    let mut findings = vec![
        Finding::good("version", json!(version), version),
        directory(&context.dir),
        owner(&context.dir),
    ];
    findings.extend(store(context));
    findings.push(disk(&context.dir));
    let terminal = if context.out.terminal { "yes" } else { "no: plain lines" };
    findings.push(Finding::good("terminal", json!(context.out.terminal), terminal));
    let usable = findings.iter().all(|finding| finding.good);
    if context.out.json {
        let checks: serde_json::Map<_, _> = findings
            .iter()
            .map(|f| {
                (f.name.to_owned(), json!({ "good": f.good, "value": f.value, "said": f.said }))
            })
            .collect();
        let limits: serde_json::Map<_, _> = limits::all()
            .into_iter()
            .map(|(name, value, what)| (name.to_owned(), json!({ "value": value, "what": what })))
            .collect();
        context.out.document(&json!({ "usable": usable, "checks": checks, "limits": limits }));
    } else {
        tell(context, &findings);
    }
    Ok(if usable { Exit::Done } else { Exit::Unavailable })
}

fn tell(context: &Context, findings: &[Finding]) {
    for finding in findings {
        let mark = if finding.good {
            context.out.paint(Tone::Good, "ok ")
        } else {
            context.out.paint(Tone::Bad, "bad")
        };
        context.out.line(format_args!("{mark} {:<16} {}", finding.name, finding.said));
    }
    context.out.line("");
    context.out.line(context.out.paint(Tone::Strong, "limits"));
    let mut table = context.out.table(&["LIMIT", "VALUE", "MEANING"]);
    for (name, value, what) in limits::all() {
        table.add_row([name.to_owned(), value.to_string(), what.to_owned()]);
    }
    context.out.line(table.trim_fmt());
}

/// Whether files can be made where the store lies, or would lie.
fn directory(dir: &Path) -> Finding {
    let shown = dir.display().to_string();
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
    match tempfile::NamedTempFile::new_in(existing) {
        Ok(_) if existing == dir => Finding::good("data directory", json!(shown), shown),
        Ok(_) => {
            let said = format!("{shown} (made by the first run)");
            Finding::good("data directory", json!(shown), said)
        }
        Err(e) => {
            let said = format!("{shown} can't be written: {e}; name another: --data-dir DIR");
            Finding::bad("data directory", json!(shown), said)
        }
    }
}

fn owner(dir: &Path) -> Finding {
    match aura_store::owner(dir) {
        Some(owner) => {
            let socket = owner.socket.map(|path| format!(", listens on {}", path.display()));
            let said = format!("process {}{}", owner.pid, socket.unwrap_or_default());
            Finding::good("owner", json!(owner.pid), said)
        }
        None => Finding::good("owner", Value::Null, "nobody"),
    }
}

fn store(context: &Context) -> Vec<Finding> {
    let opened = match context.reader() {
        Ok(opened) => opened,
        Err(problem) if problem.code == aura_core::Code::NotFound => {
            return vec![Finding::good("store", Value::Null, "none yet")];
        }
        Err(problem) => {
            let said = format!("{}: {}", problem.code, problem.what);
            return vec![Finding::bad("store", json!(problem), said)];
        }
    };
    match opened.store.info() {
        Ok(info) => {
            let size = bytes(info.bytes);
            let said = format!("{} runs, {} events, {size}", info.runs, info.events);
            let mut found = vec![Finding::good("store", json!(info), said)];
            for (name, title) in [
                ("version", "sqlite"),
                ("journal_mode", "journal"),
                ("fdatasync", "fdatasync build"),
                ("compile_options", "sqlite options"),
            ] {
                if let Some(value) = info.engine.get(name) {
                    found.push(Finding::good(title, json!(value), value.clone()));
                }
            }
            found
        }
        Err(error) => vec![Finding::bad("store", Value::Null, error.to_string())],
    }
}

/// What one durable write costs where the store lies.
fn disk(dir: &Path) -> Finding {
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
    match syncs(existing) {
        Ok(times) if times[times.len() / 2] < NO_DISK => {
            let said = "a sync costs nothing: memory, not a disk; a power cut loses everything";
            Finding::good("disk", json!(times[times.len() / 2].as_micros()), said)
        }
        Ok(times) => {
            let (half, last) = (times[times.len() / 2], times[times.len() - 1]);
            let said = format!(
                "a write and its sync take {} µs (p50), {} µs at most",
                half.as_micros(),
                last.as_micros()
            );
            Finding::good("disk", json!(half.as_micros()), said)
        }
        Err(error) => Finding::bad("disk", Value::Null, format!("can't be measured: {error}")),
    }
}

fn syncs(dir: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begin = Instant::now();
        file.write_all(&[0x5a; 512])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}
