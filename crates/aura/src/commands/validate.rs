//! `aura validate`: checking flow files.

use std::path::{Path, PathBuf};

use aura_core::error::Problem;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Exit;
use crate::flowfiles::{FlowFiles, Wrong};
use crate::output::Tone;
use crate::{describe, diagnostics, flowfiles, planning};

/// Arguments of `aura validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All problems of a file are told at once, each with its place and what to do. The exit code is 2 if
any file has a problem. With --json: {ok, files: [{file, ok, flow}], problems: [{file, line, column,
path, message, suggestion}], omitted}.

Examples:
  aura validate flow.yaml
  aura validate flows/*.yaml --json")]
pub(crate) struct Args {
    /// The flow files.
    #[arg(value_name = "FLOW", required = true)]
    pub(crate) flows: Vec<PathBuf>,
}

/// What is told to programs.
struct Told {
    files: Vec<Value>,
    problems: Vec<Value>,
    omitted: u64,
}

/// Does it.
#[expect(clippy::unnecessary_wraps, reason = "the form of every command")]
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let mut told = Told { files: Vec::new(), problems: Vec::new(), omitted: 0 };
    let mut well = true;
    for path in &args.flows {
        well &= check(context, path, &mut told);
    }
    if context.out.json {
        let Told { files, problems, omitted } = told;
        context.out.document(&json!({
            "ok": well, "files": files, "problems": problems, "omitted": omitted,
        }));
    }
    Ok(if well { Exit::Done } else { Exit::Usage })
}

/// Checks one file; one that can't be read does not keep the others from being checked.
fn check(context: &Context, path: &Path, told: &mut Told) -> bool {
    let out = &context.out;
    let name = path.display().to_string();
    match flowfiles::open(path) {
        Ok(FlowFiles { files, flows, .. }) => {
            let flow = &flows.main;
            if !out.json && !context.quiet {
                let version = flow.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
                let nodes = describe::count(planning::count(&flow.body), "node");
                let ok = out.paint(Tone::Good, "ok");
                let others = match files.len() {
                    0 => String::new(),
                    others => format!(", {} more", describe::count(others as u64, "flow file")),
                };
                out.line(format_args!("{ok}  {name}: {}{version}, {nodes}{others}", flow.name));
            }
            told.files.push(json!({ "file": name, "ok": true, "flow": flow.name }));
            true
        }
        Err(Wrong::Problem(problem)) => {
            if !out.json {
                out.problem(&problem);
            }
            told.files.push(json!({ "file": name, "ok": false, "error": problem }));
            false
        }
        Err(Wrong::Mistakes { name: wrong, source, found }) => {
            if !out.json {
                diagnostics::report(context, &wrong, &source, &found);
            }
            let mut document = diagnostics::document(&wrong, &found);
            if let Value::Array(problems) = document["problems"].take() {
                told.problems.extend(problems);
            }
            told.omitted += found.omitted as u64;
            told.files.push(json!({ "file": name, "ok": false }));
            false
        }
    }
}
