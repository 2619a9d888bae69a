//! `aura schema`: the JSON Schema of flow files, and those of tools.

use aura_core::error::Problem;
use aura_graph::definition;

use super::tools;
use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Editors that know YAML schemas complete and check a flow file whose first line is
  # yaml-language-server: $schema=PATH
'aura new' sets this up.

Examples:
  aura schema > flow.schema.json
  aura schema tool http.request input")]
pub(crate) struct Args {
    #[command(subcommand)]
    of: Option<Of>,
}

/// What to print the schema of.
#[derive(Debug, clap::Subcommand)]
enum Of {
    /// Print the schema of a tool's arguments or output.
    Tool {
        /// The tool, such as http.request.
        #[arg(value_name = "NAME")]
        name: String,
        /// Which of the two.
        #[arg(value_name = "SIDE", value_enum, default_value = "input")]
        side: Side,
    },
}

/// A side of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    /// Its arguments.
    Input,
    /// What it gives back.
    Output,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let schema = match args.of {
        None => definition::schema(),
        Some(Of::Tool { name, side }) => {
            let tool = tools::find(&name)?;
            if side == Side::Input { tool.input } else { tool.output }
        }
    };
    context.out.document(&schema);
    Ok(Exit::Done)
}
