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
use crate::output::{Tone, plain, short};
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
passes if the run does what it did. Nothing is called. A file that can't be used fails, and so does one
whose flow is gone. The exit code is 1 if a test fails. When a change is wanted, record a new run under
the same name.

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

/// What was found, and what was not looked at.
#[derive(Default)]
struct Search {
    found: Vec<Found>,
    /// Folders that lie too deep.
    deep: Vec<PathBuf>,
    /// Tests beyond those that are found.
    more: u64,
}

impl Found {
    fn name(&self) -> String {
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{} {name}", self.flow.display())
    }
}

fn test(context: &Context, path: &Path) -> Result<Exit, Problem> {
    let search = find(path)?;
    let (found, cut) = (&search.found, search.cut());
    if found.is_empty() {
        let cut = cut.first().map(|cut| format!(" ({cut})")).unwrap_or_default();
        let what = format!("no tests at {}{cut}", path.display());
        return Err(Problem::new(Code::NotFound, what).next("aura test record RUN --flow FLOW"));
    }
    let (mut failed, mut told) = (0_u64, Vec::<Value>::new());
    let out = &context.out;
    for found in found {
        let told_of = one(context, found).unwrap_or_else(|problem| unusable(found, &problem));
        let (passed, document, lines) = told_of;
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
        let mut document = json!({ "tests": told, "passed": passed, "failed": failed });
        if !cut.is_empty() {
            document["cut"] = json!(cut);
        }
        out.document(&document);
    } else {
        for cut in cut.iter().filter(|_| !context.quiet) {
            out.note(cut);
        }
        let all = describe::count(found.len() as u64, "test");
        let text = format!("{all}: {passed} passed, {failed} failed");
        out.line(out.paint(Tone::Strong, text));
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// A test that can't be tried: its file is damaged, or not what it should be.
fn unusable(found: &Found, problem: &Problem) -> (bool, Value, Vec<String>) {
    let why = format!("{}: {}", found.file.display(), problem.what);
    let document =
        json!({ "flow": found.flow, "file": found.file, "passed": false, "why": problem.what });
    (false, document, vec![plain(&why)])
}

/// One test: whether it passed, and what there is to tell of it.
fn one(context: &Context, found: &Found) -> Result<(bool, Value, Vec<String>), Problem> {
    let about = json!({ "flow": found.flow, "file": found.file });
    if !found.flow.exists() {
        let why = format!("its flow is gone: {}", found.flow.display());
        let mut document = about;
        document["passed"] = json!(false);
        document["why"] = json!(why);
        let next = "put the flow back, or remove the folder with its tests".to_owned();
        return Ok((false, document, vec![why, next]));
    }
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
fn find(path: &Path) -> Result<Search, Problem> {
    let mut search = Search::default();
    if path.is_dir() {
        search.walk(path, 0)?;
    } else {
        read_flow(path)?;
        search.tests_of(path)?;
    }
    search.found.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(search)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let failed = |e: std::io::Error| {
        let what = format!("{} can't be read: {e}", folder.display());
        Problem::new(Code::Usage, what).next("name another folder")
    };
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

impl Search {
    /// What was left out, in words.
    fn cut(&self) -> Vec<String> {
        let mut cut = Vec::new();
        if let Some(first) = self.deep.first() {
            let (folders, first) = (self.deep.len(), first.display());
            let what = format!("{} deeper than {DEPTH}", describe::count(folders as u64, "folder"));
            cut.push(format!("{what}, such as {first}, not looked through: name a folder below"));
        }
        if self.more > 0 {
            let more = describe::count(self.more, "more test");
            cut.push(format!("{more} than {TESTS} left out: name a flow, or a folder below"));
        }
        cut
    }

    fn walk(&mut self, folder: &Path, depth: usize) -> Result<(), Problem> {
        for path in entries(folder)? {
            let name = path.file_name();
            let hidden = name.is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                if !has_flow(&path) {
                    self.add(&path.with_extension("yaml"), &path)?;
                }
                if depth < DEPTH {
                    self.walk(&path, depth + 1)?;
                } else {
                    self.deep.push(path);
                }
            } else if is_flow(&path) {
                self.tests_of(&path)?;
            }
        }
        Ok(())
    }

    fn tests_of(&mut self, flow: &Path) -> Result<(), Problem> {
        let folder = folder(flow);
        if folder.is_dir() { self.add(flow, &folder) } else { Ok(()) }
    }

    fn add(&mut self, flow: &Path, folder: &Path) -> Result<(), Problem> {
        for file in entries(folder)? {
            if file.extension().is_none_or(|end| end != "aura") {
                continue;
            }
            if self.found.len() < TESTS {
                self.found.push(Found { flow: flow.to_owned(), file });
            } else {
                self.more += 1;
            }
        }
        Ok(())
    }
}

/// Endings of flow files.
const ENDS: [&str; 3] = ["yaml", "yml", "json"];

/// Whether a folder is none of tests, or their flow lies beside it.
fn has_flow(folder: &Path) -> bool {
    let tests = folder.extension().is_some_and(|end| end == "tests");
    !tests || ENDS.iter().any(|end| folder.with_extension(end).exists())
}

fn is_flow(path: &Path) -> bool {
    path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known))
}
