//! `aura new`: a first flow to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_graph::definition;
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;

/// Where the schema lies, beside the flow, so that editors find it without any network.
const SCHEMA: &str = ".aura/flow.schema.json";

const FIRST: &str = "\
flow: NAME
input:
  type: object
  required: [name]
  properties: { name: { type: string } }
nodes:
  - id: greet
    tool: echo
    with: { value: \"Hello, {{ input.name }}!\" }
  - id: count
    tool: text.extract
    with: { text: $steps.greet.output.value, format: plain }
output: { greeting: $steps.greet.output.value, words: $steps.count.output.words }
";

/// Arguments of `aura new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes a flow that runs as it is, without any network, and beside it the schema by which editors complete it.

Examples:
  aura new
  aura new greet.yaml")]
pub(crate) struct Args {
    /// Where to write it.
    #[arg(value_name = "PATH", default_value = "flow.yaml")]
    pub(crate) path: PathBuf,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let path = &args.path;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("first");
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let text =
        format!("# yaml-language-server: $schema={SCHEMA}\n{}", FIRST.replace("NAME", &name));
    write_new(path, &text)?;
    let schema = folder.join(SCHEMA);
    write_schema(&schema)?;
    let next = format!("aura run {} --set name=World", path.display());
    if context.out.json {
        let document = json!({ "flow": path, "schema": schema, "next": next });
        context.out.document(&document);
    } else {
        context.out.line(format_args!("wrote {} and {}", path.display(), schema.display()));
        context.out.line(format_args!("  next: {next}"));
    }
    Ok(Exit::Done)
}

/// Never writes over a file: somebody's flow may be in it.
fn write_new(path: &Path, text: &str) -> Result<(), Problem> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = made.map_err(|e| {
        let shown = path.display();
        if e.kind() == ErrorKind::AlreadyExists {
            Problem::new(Code::Usage, format!("{shown} is already there"))
                .kept("the file as it is")
                .next("name another: aura new PATH")
        } else {
            unwritten(path, &e)
        }
    })?;
    file.write_all(text.as_bytes()).map_err(|e| unwritten(path, &e))
}

fn write_schema(path: &Path) -> Result<(), Problem> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| unwritten(folder, &e))?;
    }
    let text = serde_json::to_string_pretty(&definition::schema()).unwrap_or_default();
    std::fs::write(path, text + "\n").map_err(|e| unwritten(path, &e))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::Usage, format!("{} can't be written: {error}", path.display()))
        .next("choose a folder that you may write to")
}
