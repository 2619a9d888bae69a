//! What a node is and does, in words.

use aura_core::budget::{Resource, Rounding, micros};
use aura_core::effect::EffectClass;
use aura_core::task::{OnUnknown, Scope};
use aura_core::time::Span;
use aura_core::tool::{ClassRule, ToolDef};
use aura_graph::definition::{Body, Cost, Kind, LoopMode, Node, OnError, Via};
use aura_graph::expr::Template;
use serde_json::Value;

use crate::describe;

/// What would be in doubt about a call if the process were killed while it is made.
pub(super) fn if_killed(node: &Node, class: Option<EffectClass>, def: &ToolDef) -> String {
    let parks = match (node.on_unknown, &node.probe) {
        (OnUnknown::Fail, None) => "fails with IN_DOUBT".to_owned(),
        (OnUnknown::Fail, Some(probe)) => {
            format!("{} looks, and where it can't tell it fails with IN_DOUBT", probe.tool)
        }
        (_, None) => "waits for a person".to_owned(),
        (_, Some(probe)) => {
            format!("{} looks, and where it can't tell it waits for a person", probe.tool)
        }
    };
    match class {
        Some(EffectClass::Pure | EffectClass::Read) => "runs again".to_owned(),
        // Declared by the author for a call that is not idempotent by nature: the key lives for a time.
        Some(EffectClass::Idempotent) if node.effect.is_some() => {
            format!("is sent again with the same key for 23 hours, then {parks}")
        }
        Some(EffectClass::Idempotent) => "is sent again with the same key".to_owned(),
        Some(EffectClass::Reconcilable | EffectClass::Irreversible) => parks,
        None => {
            let param = match &def.class {
                ClassRule::ByParam { param, .. } => param.as_str(),
                ClassRule::Fixed(_) => "its arguments",
            };
            format!("depends on {param}; at worst {parks}")
        }
    }
}

/// What a call costs at most, in amounts where they are written out.
pub(super) fn cost(cost: &Cost) -> String {
    let usd = |number: &str| micros(number, Rounding::Up).map(|n| Resource::Usd.show(n));
    let usd = cost.usd.as_ref().map(|template| match template {
        Template::Literal(value) => usd(&value.to_string()).unwrap_or_else(|| value.to_string()),
        Template::Expr(expr) => format!("{{{{ {} }}}} dollars", expr.source()),
        _ => "an amount of dollars".to_owned(),
    });
    let tokens = cost.tokens.as_ref().map(|template| match template {
        Template::Literal(value) => format!("{value} tokens"),
        Template::Expr(expr) => format!("{{{{ {} }}}} tokens", expr.source()),
        _ => "a number of tokens".to_owned(),
    });
    usd.into_iter().chain(tokens).collect::<Vec<_>>().join(" and ")
}

/// Edges that are not from the node above or to the node below.
pub(super) fn edges(body: &Body, place: usize) -> Vec<String> {
    let node = &body.nodes[place];
    let id = |place: usize| body.nodes[place].id.as_str();
    let mut edges = Vec::new();
    let after: Vec<_> = node
        .incoming
        .iter()
        .filter(|edge| edge.via == Via::After)
        .map(|edge| id(edge.from))
        .collect();
    if !after.is_empty() {
        edges.push(format!("after {}", after.join(", ")));
    } else if node.incoming.is_empty() && place > 0 {
        edges.push("starts at once".to_owned());
    }
    for route in &node.next {
        let when = route.when.as_ref().map(|when| format!(" when {}", when.source()));
        let again = if route.back {
            let most = body.nodes[route.to].max_visits;
            format!(" again, at most {most} visits")
        } else {
            String::new()
        };
        edges.push(format!("→ {}{}{again}", id(route.to), when.unwrap_or_default()));
    }
    match node.on_error {
        OnError::Fail => {}
        OnError::Continue => edges.push("goes on after a failure".to_owned()),
        OnError::Goto(to) => edges.push(format!("after a failure → {}", id(to))),
    }
    if let Some(to) = node.on_budget {
        edges.push(format!("where a budget refuses it → {}", id(to)));
    }
    if let Some(idempotency) = node.idempotency {
        let of = match idempotency.scope {
            Scope::Flow => "runs of this flow",
            Scope::Tenant => "all runs",
        };
        edges.push(format!("its result serves {of} for {}", Span(idempotency.ttl_ms)));
    }
    if let Some(deadline) = node.deadline_ms {
        edges.push(format!("within {}", Span(deadline)));
    }
    edges
}

/// What a node does.
pub(super) fn words(body: &Body, node: &Node) -> String {
    match &node.kind {
        Kind::Tool { tool, .. } => tool.clone(),
        Kind::Code(function) if function.tools.is_empty() => format!("code {}", function.name),
        Kind::Code(function) => {
            format!("code {}, may call {}", function.name, function.tools.join(", "))
        }
        Kind::Set(entries) => {
            let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
            format!("set {}", names.join(", "))
        }
        Kind::Switch { .. } => "switch: takes one of".to_owned(),
        Kind::Parallel(branches) => format!("parallel: {} branches at once", branches.len()),
        Kind::Map(map) => format!("map: each {}, {} at once", map.name, map.concurrency),
        Kind::Loop(again) => match &again.mode {
            LoopMode::Times(times) => match times.as_literal() {
                Some(times) => format!("loop, {times} times"),
                None => format!("loop, a computed number of times, at most {}", again.max),
            },
            LoopMode::While(when) => format!("loop while {}, at most {}", when.source(), again.max),
            LoopMode::Until(when) => format!("loop until {}, at most {}", when.source(), again.max),
        },
        Kind::Sleep(sleep) => match sleep.span.as_literal() {
            Some(Value::String(span)) => format!("sleep {span}"),
            _ => "sleep".to_owned(),
        },
        Kind::Wait(wait) => {
            let most = wait.timeout_ms.map(|ms| format!(", at most {}", Span(ms)));
            format!("wait for signal '{}'{}", wait.signal, most.unwrap_or_default())
        }
        Kind::Approval(approval) => {
            let of = approval.of.map(|place| format!(" of {}", body.nodes[place].id));
            let by =
                (!approval.roles.is_empty()).then(|| format!(" by {}", approval.roles.join(", ")));
            let people = (approval.quorum > 1).then(|| format!(", {} people", approval.quorum));
            let expires = approval.expires_ms.map(|ms| format!(", expires after {}", Span(ms)));
            [Some("approval".to_owned()), of, by, people, expires].into_iter().flatten().collect()
        }
        Kind::Child(child) => {
            let detached = if child.detached { ", detached" } else { "" };
            format!("flow {}{detached}", child.file)
        }
        Kind::Continue(_) => "continue: ends the run, and the next goes on in its place".to_owned(),
        Kind::Verify(verify) => {
            let schema = if verify.schema.is_some() { "schema and " } else { "" };
            let checks = describe::count(verify.checks.len() as u64, "check");
            format!("verify: {schema}{checks}, at least {}", verify.min_score)
        }
    }
}
