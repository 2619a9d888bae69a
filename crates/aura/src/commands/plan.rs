//! `aura plan`: what a flow would do, without doing it.

use std::fmt::Write as _;
use std::path::PathBuf;

use aura_core::effect::EffectClass;
use aura_core::error::{Code, Problem};
use aura_core::ports::Secrets;
use aura_core::schema::Schema;
use aura_core::time::Span;
use aura_graph::Flow;
use serde_json::{Value, json};

use crate::budget::declared;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Tone, plain};
use crate::planning::{Bound, Item, Plan};
use crate::secrets::LocalSecrets;
use crate::{describe, diagnostics, flowfiles, input, parameters, planning};

/// Width of the column of names.
const NAMES: usize = 26;

/// Arguments of `aura plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is called and nothing is recorded. Where a value depends on what only a run knows, such as
the output of a step, that is said. With --input more of it is known.

'if killed' says what becomes of a call whose outcome is lost because the process ends in it.

Examples:
  aura plan refund.yaml
  aura plan refund.yaml --input '{\"order\": 17, \"amount\": 40}'")]
pub(crate) struct Args {
    /// The flow file.
    #[arg(value_name = "FLOW")]
    pub(crate) flow: PathBuf,
    /// The input that the run would get: JSON, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) input: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let Some(opened) = diagnostics::opened(context, flowfiles::open(&args.flow))? else {
        return Ok(Exit::Usage);
    };
    let flows = opened.flows;
    let flow = &flows.main;
    let input = match &args.input {
        Some(given) => Some(fitting(flow, input::json("--input", given)?.value)?),
        None => None,
    };
    let plan = planning::plan(&flows, input.as_ref());
    let secrets = secrets(context, &plan);
    if context.out.json {
        context.out.document(&document(flow, &plan, &secrets));
    } else {
        print(context, flow, &plan, &secrets);
    }
    Ok(Exit::Done)
}

fn fitting(flow: &Flow, input: Value) -> Result<Value, Problem> {
    let Some(schema) = &flow.input else { return Ok(input) };
    let Ok(schema) = Schema::compile(schema) else { return Ok(input) };
    let violations = schema.violations(&input);
    if violations.is_empty() {
        return Ok(input);
    }
    let lines: Vec<_> = violations.iter().map(|violation| format!("\n  {violation}")).collect();
    let what = format!("the input does not fit the flow:{}", lines.concat());
    Err(Problem::new(Code::InvalidInput, what).next("mend --input, or plan without it"))
}

/// The secrets that a flow uses, and whether each can be had here.
fn secrets(context: &Context, plan: &Plan) -> Vec<(String, Result<bool, String>)> {
    let local = LocalSecrets::new(&context.dir);
    let found = plan.secrets.iter();
    found.map(|name| (name.clone(), local.get(name).map(|value| value.is_some()))).collect()
}

fn document(flow: &Flow, plan: &Plan, secrets: &[(String, Result<bool, String>)]) -> Value {
    let secrets: Vec<_> = secrets
        .iter()
        .map(|(name, set)| json!({ "name": name, "set": matches!(set, Ok(true)) }))
        .collect();
    json!({
        "flow": flow.name, "deadline_ms": flow.deadline_ms, "budget": flow.budget, "version": flow.version, "hash": flow.hash, "nodes": plan.nodes,
        "secrets": secrets, "steps": plan.steps, "calls": plan.calls,
    })
}

fn print(context: &Context, flow: &Flow, plan: &Plan, secrets: &[(String, Result<bool, String>)]) {
    let out = &context.out;
    let version = flow.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let head = out.paint(Tone::Strong, format_args!("{}{version}", flow.name));
    let about = flow.description.as_deref().unwrap_or_default();
    let about = describe::one_line(about.trim(), 100);
    out.line(format_args!("{head}  {about}").to_string().trim_end());
    if let Some(schema) = &flow.input {
        let fields = parameters::of(schema).into_iter().map(|row| {
            let needed = if row.required { "" } else { ", may be absent" };
            format!("{} ({}{needed})", row.name, row.kind)
        });
        let fields: Vec<_> = fields.collect();
        out.line(format_args!(
            "{} {}",
            out.paint(Tone::Faint, "input "),
            plain(&fields.join(", "))
        ));
    }
    if let Some(budget) = &flow.budget {
        out.line(format_args!("{} {}", out.paint(Tone::Faint, "budget"), declared(budget)));
    }
    if let Some(deadline) = flow.deadline_ms {
        out.line(format_args!("{} {}", out.paint(Tone::Faint, "within"), Span(deadline)));
    }
    out.line("");
    for item in &plan.nodes {
        node(context, item);
    }
    out.line("");
    totals(context, plan);
    for (name, set) in secrets {
        let label = out.paint(Tone::Faint, "secret");
        let (tone, text) = match set {
            Ok(true) => (Tone::Good, "set".to_owned()),
            Ok(false) => (Tone::Bad, format!("not set: export AURA_SECRET_{name}=…")),
            Err(why) => (Tone::Bad, why.clone()),
        };
        out.line(format_args!("{label} {name}  {}", out.paint(tone, text)));
    }
}

fn node(context: &Context, item: &Item) {
    let out = &context.out;
    let indent = "  ".repeat(item.depth + 1);
    let width = NAMES.saturating_sub(indent.len()).max(8);
    let name = out.paint(Tone::Strong, format_args!("{:<width$}", plain(&item.label)));
    let mut line = format!("{indent}{name} {}", plain(&item.what));
    if let Some(class) = item.class {
        let _ = write!(line, "  {}", out.paint(tone(class), class));
    } else if item.tool.is_some() {
        let _ = write!(line, "  {}", out.paint(Tone::Warn, "class not known"));
    }
    if let Some(target) = &item.target {
        let _ = write!(line, "  {}", plain(target));
    }
    out.line(line.trim_end());
    let below = "  ".repeat(item.depth + 2);
    let faint =
        |text: String| out.line(format_args!("{below}{}", out.paint(Tone::Faint, plain(&text))));
    if let Some(when) = &item.when {
        faint(format!("when {when}"));
    }
    if !item.edges.is_empty() {
        faint(item.edges.join("; "));
    }
    if let Some(budget) = &item.budget {
        faint(format!("budget {}", declared(budget)));
    }
    if let Some(cost) = &item.cost {
        faint(format!("a try costs at most {cost}"));
    }
    // Calls that leave no mark have nothing worth a line.
    if let Some(killed) = &item.if_killed
        && item.class != Some(EffectClass::Pure)
    {
        let tries =
            describe::count(u64::from(item.attempts.unwrap_or(1)), "try").replace("trys", "tries");
        faint(format!("at most {tries}; if killed: {killed}"));
    }
    if let Some(undo) = &item.compensate {
        let class = undo.class.map_or("class not known", EffectClass::as_str);
        let target = undo.target.as_deref().map(|target| format!("  {target}"));
        let target = target.unwrap_or_default();
        faint(format!("undone by {}  {class}{target}", undo.tool));
    }
}

fn tone(class: EffectClass) -> Tone {
    match class {
        EffectClass::Pure | EffectClass::Read => Tone::Good,
        EffectClass::Idempotent | EffectClass::Reconcilable => Tone::Busy,
        EffectClass::Irreversible => Tone::Warn,
    }
}

fn totals(context: &Context, plan: &Plan) {
    let out = &context.out;
    let row = |name: &str, text: String| {
        out.line(format_args!("{} {text}", out.paint(Tone::Faint, format_args!("{name:<6}"))));
    };
    row("steps", bound(&plan.steps));
    row("calls", bound(&plan.calls));
    let asks: Vec<_> = plan
        .nodes
        .iter()
        .filter(|item| matches!(item.kind, "approval" | "wait"))
        .map(|item| item.path.clone())
        .collect();
    if !asks.is_empty() {
        row("waits", format!("for somebody at {}", plain(&asks.join(", "))));
    }
    if let Some(undone) = undone(plan) {
        row("undone", plain(&undone));
    }
    let parks = plan.nodes.iter().filter(|item| item.class == Some(EffectClass::Irreversible));
    let parks: Vec<_> = parks.map(|item| item.path.clone()).collect();
    if !parks.is_empty() {
        row("doubt", format!("a crash during {} needs a person", plain(&parks.join(", "))));
    }
}

/// Which effects are undone if the run fails, where any is.
fn undone(plan: &Plan) -> Option<String> {
    let names = |undone: bool| {
        let acts =
            |item: &&Item| item.tool.is_some() && !item.class.is_some_and(EffectClass::abandonable);
        let items = plan.nodes.iter().filter(acts);
        let items = items.filter(|item| item.compensate.is_some() == undone);
        items.map(|item| item.path.clone()).collect::<Vec<_>>()
    };
    let (undone, kept) = (names(true), names(false));
    if undone.is_empty() {
        return None;
    }
    let not = if kept.is_empty() { String::new() } else { format!("; not {}", kept.join(", ")) };
    Some(format!("if it fails or is cancelled: {}{not}", undone.join(", ")))
}

fn bound(bound: &Bound) -> String {
    if bound.times_unknown.is_empty() {
        return format!("at most {}", bound.most);
    }
    let names: Vec<_> = bound.times_unknown.iter().map(|name| format!("'{name}'")).collect();
    let names = names.join(" and in ");
    format!("at most {} with one item in {names}; more with more items", bound.most)
}
