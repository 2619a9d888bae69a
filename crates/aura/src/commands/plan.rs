//! `aura plan`: what a flow would do, without doing it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use aura_core::effect::EffectClass;
use aura_core::error::Problem;
use aura_core::ports::Secrets;
use aura_graph::definition::{self, Body, Flow, Kind, LoopMode, Node, OnError};
use aura_graph::expr::Template;
use serde_json::{Value, json};

use super::run::read_flow;
use crate::context::Context;
use crate::diagnostics;
use crate::exit::Exit;
use crate::output::Tone;
use crate::secrets::LocalSecrets;
use crate::wire;

/// Arguments of `aura plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows the graph, each call with its effect class and host, approvals, secrets, and for each step what would be in
doubt if the process were killed there. Nothing is called and nothing is recorded.

Examples:
  aura plan flow.yaml
  aura plan flow.yaml --json")]
pub(crate) struct Args {
    /// The flow file.
    #[arg(value_name = "FLOW")]
    pub(crate) flow: PathBuf,
}

/// A step of the plan.
struct Row {
    depth: usize,
    head: String,
    what: String,
    notes: Vec<String>,
    document: Value,
}

/// What a walk over the flow gathers.
#[derive(Default)]
struct Plan {
    rows: Vec<Row>,
    secrets: BTreeSet<String>,
    hosts: BTreeSet<String>,
    approvals: usize,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let name = args.flow.display().to_string();
    let source = read_flow(&args.flow)?;
    let flow = match definition::load(&source, &wire::catalog()) {
        Ok(flow) => flow,
        Err(found) => {
            diagnostics::report(context, &name, &source, &found);
            return Ok(Exit::Usage);
        }
    };
    let mut plan = Plan::default();
    plan.body(&flow, &flow.body, 0);
    if context.out.json {
        document(context, &flow, &plan);
    } else {
        tell(context, &flow, &plan);
    }
    Ok(Exit::Done)
}

impl Plan {
    fn body(&mut self, flow: &Flow, body: &Body, depth: usize) {
        for node in &body.nodes {
            let row = self.node(flow, body, node, depth);
            self.rows.push(row);
            for (key, inner) in node.kind.bodies() {
                if !key.is_empty() {
                    self.rows.push(Row {
                        depth: depth + 1,
                        head: format!("{key}:"),
                        what: String::new(),
                        notes: Vec::new(),
                        document: Value::Null,
                    });
                }
                self.body(flow, inner, depth + 2);
            }
        }
    }

    fn node(&mut self, flow: &Flow, body: &Body, node: &Node, depth: usize) -> Row {
        let mut notes = flow_of(body, node);
        let mut document = json!({ "id": node.id, "kind": node.kind.word(), "depth": depth });
        let what = match &node.kind {
            Kind::Tool { tool, with } => {
                with.each_secret(&mut |_, name| {
                    self.secrets.insert(name.to_owned());
                });
                let class = class_of(flow, node, tool, with);
                let tries = node.retry.max_attempts;
                notes.push(format!("killed here: {}; at most {tries} tries", killed(class)));
                document["tool"] = json!(tool);
                document["class"] = json!(class.map(EffectClass::as_str));
                document["max_attempts"] = json!(node.retry.max_attempts);
                document["killed_here"] = json!(killed(class));
                let host = host_of(with);
                document["host"] = json!(host);
                let host = host.map(|host| {
                    self.hosts.insert(host.clone());
                    format!(" to {host}")
                });
                let class = class.map_or("class by its arguments", EffectClass::as_str);
                format!("{tool} ({class}){}", host.unwrap_or_default())
            }
            Kind::Approval(approval) => {
                self.approvals += 1;
                let of = approval.of.map(|place| format!(" of '{}'", body.nodes[place].id));
                format!("asks a person{}", of.unwrap_or_default())
            }
            Kind::Map(map) => format!("for each item, {} at once", map.concurrency),
            Kind::Loop(again) => match &again.mode {
                LoopMode::Times(Template::Literal(times)) => format!("{times} times"),
                LoopMode::Times(_) => "a computed number of times".to_owned(),
                LoopMode::While(_) | LoopMode::Until(_) => format!("at most {} times", again.max),
            },
            Kind::Wait(wait) => format!("waits for the signal '{}'", wait.signal),
            Kind::Sleep(_) => "pauses".to_owned(),
            Kind::Set(entries) => {
                let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
                format!("sets {}", names.join(", "))
            }
            Kind::Switch { .. } => "takes the first case that holds".to_owned(),
            Kind::Parallel(_) => "runs its branches side by side".to_owned(),
            Kind::Verify(verify) => format!("verifies a value, at least {}", verify.min_score),
        };
        Row { depth, head: node.id.clone(), what, notes, document }
    }
}

/// Edges that are not simply "after the one above".
fn flow_of(body: &Body, node: &Node) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(when) = &node.when {
        notes.push(format!("only when {}", when.source()));
    }
    for route in &node.next {
        let to = &body.nodes[route.to].id;
        let back = if route.back { "back to" } else { "to" };
        let when = route.when.as_ref().map(|when| format!(" when {}", when.source()));
        notes.push(format!("goes {back} '{to}'{}", when.unwrap_or_default()));
    }
    match node.on_error {
        OnError::Fail => {}
        OnError::Continue => notes.push("goes on if it fails".to_owned()),
        OnError::Goto(to) => notes.push(format!("goes to '{}' if it fails", body.nodes[to].id)),
    }
    notes
}

/// The class of a call, where its arguments leave no choice.
fn class_of(flow: &Flow, node: &Node, tool: &str, with: &Template) -> Option<EffectClass> {
    let rule = &flow.tools.get(tool)?.class;
    node.effect.or_else(|| match (rule, with) {
        (aura_core::tool::ClassRule::Fixed(class), _) => Some(*class),
        (rule, Template::Literal(args)) => Some(rule.class_of(args)),
        (rule @ aura_core::tool::ClassRule::ByParam { param, .. }, Template::Object(entries)) => {
            let given = entries.iter().find(|(name, _)| name == param);
            match given {
                None => Some(rule.class_of(&json!({}))),
                Some((_, template)) => {
                    let value = template.as_literal()?;
                    Some(rule.class_of(&json!({ param.as_str(): value })))
                }
            }
        }
        _ => None,
    })
}

/// What becomes of a call whose process was killed while it was under way.
fn killed(class: Option<EffectClass>) -> &'static str {
    match class {
        None => "what becomes of it follows from its arguments",
        Some(EffectClass::Pure | EffectClass::Read) => "it runs again",
        Some(EffectClass::Idempotent) => "it is sent again with the same key",
        Some(EffectClass::Irreversible) => "it is in doubt and waits for a person",
    }
}

/// The host of a URL that the flow file spells out.
fn host_of(with: &Template) -> Option<String> {
    let text = match with {
        Template::Literal(args) => args.get("url")?.as_str()?.to_owned(),
        Template::Object(entries) => {
            let (_, url) = entries.iter().find(|(name, _)| name == "url")?;
            match url {
                Template::Literal(text) => text.as_str()?.to_owned(),
                Template::Text(parts) => match parts.first()? {
                    aura_graph::expr::Part::Text(text) => text.clone(),
                    _ => return None,
                },
                _ => return None,
            }
        }
        _ => return None,
    };
    let (_, rest) = text.split_once("://")?;
    // Without a slash after it, the host may go on in what is computed.
    let (host, _) = rest.split_once(['/', '?'])?;
    (!host.is_empty()).then(|| host.to_owned())
}

fn secret_is_set(context: &Context, name: &str) -> bool {
    matches!(LocalSecrets::new(&context.dir).get(name), Ok(Some(_)))
}

fn tell(context: &Context, flow: &Flow, plan: &Plan) {
    let version = flow.version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
    let head = format!("{}{version}", flow.name);
    context.out.line(context.out.paint(Tone::Strong, head));
    if let Some(description) = &flow.description {
        context.out.line(format_args!("  {description}"));
    }
    for row in &plan.rows {
        let indent = "  ".repeat(row.depth + 1);
        let head = context.out.paint(Tone::Busy, &row.head);
        context.out.line(format_args!("{indent}{head}  {}", row.what).to_string().trim_end());
        for note in &row.notes {
            let note = context.out.paint(Tone::Faint, note);
            context.out.line(format_args!("{indent}    {note}"));
        }
    }
    context.out.line("");
    context.out.line(format_args!("approvals  {}", plan.approvals));
    let hosts: Vec<_> = plan.hosts.iter().map(String::as_str).collect();
    context.out.line(format_args!("hosts      {}", or_none(&hosts.join(", "))));
    let secrets: Vec<_> = plan
        .secrets
        .iter()
        .map(|name| {
            let state = if secret_is_set(context, name) { "set" } else { "NOT set" };
            format!("{name} ({state})")
        })
        .collect();
    context.out.line(format_args!("secrets    {}", or_none(&secrets.join(", "))));
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn document(context: &Context, flow: &Flow, plan: &Plan) {
    let steps: Vec<_> = plan
        .rows
        .iter()
        .filter(|row| !row.document.is_null())
        .map(|row| {
            let mut document = row.document.clone();
            document["what"] = json!(row.what);
            document["notes"] = json!(row.notes);
            document
        })
        .collect();
    let secrets: Vec<_> = plan
        .secrets
        .iter()
        .map(|name| json!({ "name": name, "set": secret_is_set(context, name) }))
        .collect();
    context.out.document(&json!({
        "flow": flow.name, "version": flow.version, "hash": flow.hash, "steps": steps,
        "approvals": plan.approvals, "hosts": plan.hosts, "secrets": secrets,
    }));
}
