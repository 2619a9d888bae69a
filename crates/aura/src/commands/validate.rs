//! `aura validate`: checking flow files.

use std::path::PathBuf;

use aura_core::error::Problem;
use aura_graph::definition;
use serde_json::{Value, json};

use super::run::read_flow;
use crate::context::Context;
use crate::diagnostics;
use crate::exit::Exit;
use crate::output::Tone;
use crate::wire;

/// Arguments of `aura validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All problems of a file are told at once, each with its place and what to do. The exit code is 2 if a file has any.

Examples:
  aura validate flow.yaml
  aura validate flows/*.yaml
  aura validate flow.yaml --json")]
pub(crate) struct Args {
    /// The flow files.
    #[arg(value_name = "FLOW", required = true)]
    pub(crate) flows: Vec<PathBuf>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let catalog = wire::catalog();
    let mut exit = Exit::Done;
    let mut documents = Vec::new();
    for path in &args.flows {
        let name = path.display().to_string();
        let source = read_flow(path)?;
        match definition::load(&source, &catalog) {
            Ok(flow) => {
                let nodes = count(&flow.body);
                documents.push(json!({ "file": name, "flow": flow.name, "problems": [] }));
                if !context.out.json && !context.quiet {
                    let ok = context.out.paint(Tone::Good, "ok");
                    let nodes =
                        if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
                    context.out.line(format_args!("{ok} {name}: flow '{}', {nodes}", flow.name));
                }
            }
            Err(found) => {
                exit = Exit::Usage;
                if context.out.json {
                    let mut document = diagnostics::document(&name, &found);
                    document["file"] = Value::from(name);
                    documents.push(document);
                } else {
                    diagnostics::report(context, &name, &source, &found);
                }
            }
        }
    }
    if context.out.json {
        context.out.document(&documents);
    }
    Ok(exit)
}

/// Nodes of a body and of the bodies within it.
fn count(body: &definition::Body) -> usize {
    let inner = |node: &definition::Node| -> usize {
        node.kind.bodies().into_iter().map(|(_, body)| count(body)).sum()
    };
    body.nodes.iter().map(|node| 1 + inner(node)).sum()
}
