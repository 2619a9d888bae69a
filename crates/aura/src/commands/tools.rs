//! `aura tools`: what steps can call.

use aura_core::effect::EffectClass;
use aura_core::error::{Code, Problem};
use aura_core::tool::{ClassRule, ToolDef};
use comfy_table::Cell;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Exit;
use crate::output::Tone;
use crate::{describe, parameters, suggest, wire};

/// Arguments of `aura tools`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The class says what happens when the outcome of a call is lost: 'pure' and 'read' run again,
'idempotent' is sent again with the same key, 'irreversible' waits for a person.

Examples:
  aura tools
  aura tools show http.request
  aura tools show file.write --json | jq .input")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do with tools.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List all tools.
    List,
    /// Show a tool: what it does, its parameters and its output.
    Show {
        /// The tool, such as http.request.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    match args.command {
        None | Some(Command::List) => list(context),
        Some(Command::Show { name }) => show(context, &find(&name)?),
    }
    Ok(Exit::Done)
}

/// The tool of a name.
pub(crate) fn find(name: &str) -> Result<ToolDef, Problem> {
    let catalog = wire::catalog();
    if let Some(found) = catalog.definitions().find(|def| def.name == name) {
        return Ok(found.clone());
    }
    let near = suggest::nearest(name, catalog.definitions().map(|def| def.name.as_str()));
    let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    Err(Problem::new(Code::NotFound, format!("there is no tool '{name}'{near}")).next("aura tools"))
}

fn list(context: &Context) {
    let catalog = wire::catalog();
    if context.out.json {
        let tools: Vec<_> = catalog
            .definitions()
            .map(|def| json!({ "name": def.name, "summary": def.summary, "class": def.class }))
            .collect();
        context.out.document(&json!({ "tools": tools }));
        return;
    }
    let mut table = context.out.table(&["TOOL", "CLASS", "WHAT IT DOES"]);
    for def in catalog.definitions() {
        let class = match &def.class {
            ClassRule::Fixed(class) => class.to_string(),
            ClassRule::ByParam { param, .. } => format!("by {param}"),
        };
        table.add_row([
            context.out.cell(Tone::Strong, &def.name),
            Cell::new(class),
            Cell::new(&def.summary),
        ]);
    }
    context.out.line(table.trim_fmt());
    if !context.quiet {
        context.out.note("for one of them: aura tools show TOOL");
    }
}

fn show(context: &Context, def: &ToolDef) {
    let out = &context.out;
    if out.json {
        let mut document = json!(def);
        document["definition"] = json!(def.hash());
        out.document(&document);
        return;
    }
    let strong = |text: &str| out.paint(Tone::Strong, text);
    out.line(format_args!("{} — {}\n", strong(&def.name), def.summary));
    for line in def.help.lines() {
        out.line(line);
    }
    out.line(format_args!("\n{}", strong("Class")));
    for line in classes(&def.class) {
        out.line(format_args!("  {line}"));
    }
    for (heading, schema) in [("Parameters", &def.input), ("Output", &def.output)] {
        out.line(format_args!("\n{}", strong(heading)));
        rows(context, def, schema, heading == "Parameters");
    }
}

fn rows(context: &Context, def: &ToolDef, schema: &Value, input: bool) {
    let rows = parameters::of(schema);
    if rows.is_empty() {
        context.out.line("  none");
        return;
    }
    let third = if input { "DEFAULT" } else { "" };
    let mut table = context.out.table(&["NAME", "TYPE", third, ""]);
    for row in rows {
        let secret =
            if input && def.secret_params.contains(&row.name) { " Takes secrets." } else { "" };
        let default = match (&row.default, row.required) {
            (Some(value), _) => describe::value_of(value, 24),
            (None, true) if input => "required".to_owned(),
            (None, _) => String::new(),
        };
        let name = context.out.cell(Tone::Strong, &row.name);
        let description = format!("{}{secret}", row.description);
        table.add_row([name, Cell::new(row.kind), Cell::new(default), Cell::new(description)]);
    }
    for line in table.trim_fmt().lines() {
        context.out.line(format_args!("  {}", line.trim_end()));
    }
}

fn classes(rule: &ClassRule) -> Vec<String> {
    match rule {
        ClassRule::Fixed(class) => vec![format!("{class}: {}", in_doubt(*class))],
        ClassRule::ByParam { param, absent, cases, otherwise } => {
            let mut lines: Vec<String> = Vec::new();
            for class in [EffectClass::Pure, EffectClass::Read, EffectClass::Idempotent] {
                let texts: Vec<_> = cases
                    .iter()
                    .filter(|(_, of)| **of == class)
                    .map(|(text, _)| text.as_str())
                    .collect();
                if !texts.is_empty() {
                    let texts = texts.join(", ");
                    lines.push(format!("{class} where {param} is {texts}: {}", in_doubt(class)));
                }
            }
            lines.push(format!("{otherwise} otherwise: {}", in_doubt(*otherwise)));
            lines.push(format!("without {param} it is {absent}"));
            lines
        }
    }
}

/// What a class means when an outcome is lost.
pub(crate) fn in_doubt(class: EffectClass) -> &'static str {
    match class {
        EffectClass::Pure | EffectClass::Read => "runs again when in doubt",
        EffectClass::Idempotent => "is sent again with the same key when in doubt",
        EffectClass::Reconcilable => "is looked for by a probe when in doubt",
        EffectClass::Irreversible => "waits for a person when in doubt",
    }
}
