//! `aura test`: recorded runs as tests of a flow. Nothing is called, and no store is needed.

use std::fs;
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_graph::backtest::Verdict;
use clap::Subcommand;
use serde_json::{Value, json};

use super::export::write;
use crate::archive::aside::Aside;
use crate::backtesting::{Tester, document, painted, reasons};
use crate::context::Context;
use crate::exit::Exit;
use crate::flowfiles::{self, Wrong, read_flow};
use crate::input::check_name;
use crate::output::{Tone, short};
use crate::{describe, resolve};

/// How deep folders are looked through.
const DEPTH: usize = 8;
/// Tests that are found at most.
const TESTS: usize = 10_000;

/// Arguments of `aura test`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
'aura test record' keeps a run that ended beside its flow, in FLOW.tests/NAME.aura. 'aura test' decides
each again by the flow as it is now, with the recorded input, outcomes, signals and answers: a test
passes if the run does what it did. Nothing is called. The exit code is 1 if a test fails. When a
change is wanted, record a new run under the same name.

Examples:
  aura test record 0198c2d1 --flow refund.yaml --name small-amount
  aura test
  aura test flows/ --json
  aura test refund.yaml"
)]
pub(crate) struct Args {
    /// What to do other than testing.
    #[command(subcommand)]
    record: Option<Command>,
    /// A flow file, or a folder with flows and their tests; otherwise the working directory.
    #[arg(value_name = "DIR|FLOW")]
    path: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a run as a test of a flow.
    Record(Record),
}

/// Arguments of `aura test record`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aura test record 0198c2d1 --flow refund.yaml
  aura test record 0198c2d1 --flow refund.yaml --name small-amount")]
struct Record {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// The flow file that it tests.
    #[arg(long, value_name = "FLOW")]
    flow: PathBuf,
    /// The name of the test; otherwise the start of the run's id.
    #[arg(long)]
    name: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    match args.record {
        Some(Command::Record(record)) => keep(context, &record),
        None => test(context, &args.path.unwrap_or_else(|| PathBuf::from("."))),
    }
}

/// The folder of a flow's tests.
fn folder(flow: &Path) -> PathBuf {
    flow.with_extension("tests")
}

fn keep(context: &Context, record: &Record) -> Result<Exit, Problem> {
    read_flow(&record.flow)?;
    let opened = context.reader()?;
    let row = resolve::run(&*opened.store, &record.run)?;
    if !row.status.closed() {
        let what = format!("run {} has not ended: {}", row.run, row.status.as_str());
        return Err(Problem::new(Code::Usage, what).next(format!("aura why {}", row.run)));
    }
    let name = record.name.clone().unwrap_or_else(|| short(row.run));
    check_name("--name", &name)?;
    if name.contains(['/', '\\']) || name.starts_with('.') {
        let what = format!("--name '{name}' is not the name of a file");
        return Err(Problem::new(Code::Usage, what).next("use letters, digits and dashes"));
    }
    let folder = folder(&record.flow);
    let failed = |e: std::io::Error| {
        let what = format!("{} can't be made: {e}", folder.display());
        Problem::new(Code::StoreUnavailable, what).next("look at the rights of the folder")
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    let file = folder.join(format!("{name}.aura"));
    write(&opened, row.run, &file)?;
    if context.out.json {
        context.out.document(&json!({ "run_id": row.run, "test": name, "file": file }));
    } else {
        let said = context.out.paint(Tone::Good, "recorded");
        context.out.line(format_args!("{said} run {} as {}", row.run, file.display()));
        context.out.line_next(format_args!("aura test {}", record.flow.display()));
    }
    Ok(Exit::Done)
}

/// A flow with a recorded run of it.
struct Found {
    flow: PathBuf,
    file: PathBuf,
}

impl Found {
    fn name(&self) -> String {
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{} {name}", self.flow.display())
    }
}

fn test(context: &Context, path: &Path) -> Result<Exit, Problem> {
    let found = find(path)?;
    if found.is_empty() {
        let what = format!("no tests at {}", path.display());
        return Err(Problem::new(Code::NotFound, what).next("aura test record RUN --flow FLOW"));
    }
    let (mut failed, mut told) = (0_u64, Vec::<Value>::new());
    let out = &context.out;
    for found in &found {
        let (passed, document, lines) = one(context, found)?;
        failed += u64::from(!passed);
        if out.json {
            told.push(document);
            continue;
        }
        let (tone, word) = if passed { (Tone::Good, "ok    ") } else { (Tone::Bad, "FAILED") };
        if !passed || !context.quiet {
            out.line(format_args!("{} {}", out.paint(tone, word), found.name()));
        }
        for line in lines {
            out.line(format_args!("  {line}"));
        }
    }
    let passed = found.len() as u64 - failed;
    if out.json {
        out.document(&json!({ "tests": told, "passed": passed, "failed": failed }));
    } else {
        let all = describe::count(found.len() as u64, "test");
        let text = format!("{all}: {passed} passed, {failed} failed");
        out.line(out.paint(Tone::Strong, text));
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// One test: whether it passed, and what there is to tell of it.
fn one(context: &Context, found: &Found) -> Result<(bool, Value, Vec<String>), Problem> {
    let about = json!({ "flow": found.flow, "file": found.file });
    let flow = match flowfiles::open(&found.flow) {
        Ok(flow) => flow,
        Err(wrong) => {
            let first = match wrong {
                Wrong::Mistakes { found, .. } => {
                    found.problems.first().map(ToString::to_string).unwrap_or_default()
                }
                Wrong::Problem(problem) => problem.what,
            };
            let mut document = about;
            document["passed"] = json!(false);
            document["why"] = json!(first);
            let next = format!("aura validate {}", found.flow.display());
            return Ok((false, document, vec![format!("the flow does not load: {first}"), next]));
        }
    };
    let aside = Aside::open(&found.file)?;
    let verdict = Tester::new(&aside.opened, flow)?.test(aside.run)?;
    let passed = verdict == Verdict::Same;
    let mut document = document(aside.run, &verdict);
    document["flow"] = json!(found.flow);
    document["file"] = json!(found.file);
    document["passed"] = json!(passed);
    let mut lines = Vec::new();
    if !passed {
        lines.push(painted(&context.out, &verdict).trim_end().to_owned());
        lines.extend(reasons(context, &verdict));
    }
    Ok((passed, document, lines))
}

/// The tests of a flow, or below a folder, by name.
fn find(path: &Path) -> Result<Vec<Found>, Problem> {
    let mut found = Vec::new();
    if path.is_dir() {
        walk(path, 0, &mut found)?;
    } else {
        read_flow(path)?;
        tests_of(path, &mut found)?;
    }
    found.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let failed = |e: std::io::Error| {
        let what = format!("{} can't be read: {e}", folder.display());
        Problem::new(Code::Usage, what).next("name another folder")
    };
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), Problem> {
    if depth > DEPTH {
        return Ok(());
    }
    for path in entries(folder)? {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, depth + 1, found)?;
        } else if is_flow(&path) {
            tests_of(&path, found)?;
        }
    }
    Ok(())
}

fn is_flow(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
}

fn tests_of(flow: &Path, found: &mut Vec<Found>) -> Result<(), Problem> {
    let folder = folder(flow);
    if !folder.is_dir() {
        return Ok(());
    }
    for file in entries(&folder)? {
        if file.extension().is_some_and(|end| end == "aura") && found.len() < TESTS {
            found.push(Found { flow: flow.to_owned(), file });
        }
    }
    Ok(())
}
