//! `aura new`: a first flow to start from.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_core::limits;
use aura_graph::definition;
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;

/// Where the schema for editors lies beside the flow, so that it works without a network.
const SCHEMA: &str = ".aura/flow.schema.json";

/// Arguments of `aura new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes NAME.yaml, and beside it .aura/flow.schema.json, with which editors complete and check the
file. A file that is there is never overwritten.

Examples:
  aura new
  aura new refund --dir flows")]
pub(crate) struct Args {
    /// The name of the flow, and of its file.
    #[arg(value_name = "NAME", default_value = "hello")]
    pub(crate) name: String,
    /// The folder to write to; it is made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let name = args.name.strip_suffix(".yaml").unwrap_or(&args.name);
    check_name(name)?;
    let file = args.dir.join(format!("{name}.yaml"));
    let schema = args.dir.join(SCHEMA);
    if let Some(folder) = schema.parent() {
        fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
    }
    write_new(&file, &template(name))?;
    // Made by this program and for this build: a newer one is better.
    let text = serde_json::to_string_pretty(&definition::schema()).unwrap_or_default();
    fs::write(&schema, text + "\n").map_err(|e| unwritable(&schema, &e))?;
    let command = format!("aura run {}", file.display());
    if context.out.json {
        context.out.document(&json!({ "file": file, "schema": schema, "next": command }));
        return Ok(Exit::Done);
    }
    context.out.line(format_args!("wrote {}", file.display()));
    context.out.line_next(format_args!("{command} --set name=Ada"));
    Ok(Exit::Done)
}

fn template(name: &str) -> String {
    format!(
        r#"# yaml-language-server: $schema={SCHEMA}
flow: {name}
input: {{ type: object, properties: {{ name: {{ type: string }} }} }}
nodes:
  - id: greet
    tool: echo
    with: {{ value: "Hello {{{{ input.name | default('world') }}}}, how are you?" }}
  - id: words
    map: {{ items: "{{{{ steps.greet.output.value | split }}}}", as: word, do: [{{ id: hash, tool: hash.sha256, with: {{ text: $word }} }}] }}
output: {{ said: $steps.greet.output.value, words: "{{{{ steps.words.output | length }}}}" }}
"#
    )
}

fn check_name(name: &str) -> Result<(), Problem> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let other = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.starts_with(first) && name.chars().all(other) && name.len() <= limits::NAME_BYTES {
        return Ok(());
    }
    let what = format!("'{name}' is no name of a flow");
    Err(Problem::new(Code::Usage, what)
        .next("use letters, digits, '_', '.' and '-', a letter first"))
}

fn write_new(file: &Path, text: &str) -> Result<(), Problem> {
    let made = OpenOptions::new().write(true).create_new(true).open(file);
    let mut open = made.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            Problem::new(Code::Conflict, format!("{} is there already", file.display()))
                .kept("it was not touched")
                .next("give another name, or another folder with --dir")
        }
        _ => unwritable(file, &e),
    })?;
    open.write_all(text.as_bytes()).map_err(|e| unwritable(file, &e))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::Forbidden, format!("{} can't be written: {error}", path.display()))
        .next("name another folder: --dir DIR")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn what_is_written_is_a_flow() {
        let found = definition::load(&template("hello"), &wire::catalog());
        assert_eq!(found.map(|flow| flow.name).map_err(|e| e.to_string()), Ok("hello".to_owned()));
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        for name in ["", "../x", "a/b", "1a", "a b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("refund_2.order-x").is_ok());
    }
}
