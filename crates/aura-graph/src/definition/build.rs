//! From a draft in which everything fits together to the model that decisions walk.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::hash::Hash;
use aura_core::task::{OnUnknown, Retry};
use aura_core::tool::ToolDef;

use super::draft;
use super::edges::Graph;
use super::model::{
    Approval, Body, Branch, CALL, Case, Check, Child, Cost, Flow, Function, Kind, Loop, LoopMode,
    Map, Node, NodeCost, OnError, Probe, Route, Sleep, Tools, Verify, Wait,
};
use crate::expr::Template;

/// The model of a flow without mistakes.
pub(super) fn flow(draft: draft::Flow<'_>, source: &str, tools: &dyn Tools) -> Flow {
    let mut defs = BTreeMap::new();
    let body = body(draft.body, tools, &mut defs);
    Flow {
        name: draft.name,
        version: draft.version,
        description: draft.description,
        source: source.to_owned(),
        hash: Hash::of(source.as_bytes()),
        input: draft.input,
        deadline_ms: draft.deadline_ms,
        signals: draft.signals,
        vars: draft.vars.into_iter().map(|(name, template)| (name, template.value)).collect(),
        body,
        output: draft.output.map(|output| output.value),
        budget: draft.budget,
        definitions: defs.iter().map(|(name, def)| (name.clone(), def.hash())).collect(),
        tools: defs,
        file: None,
        children: BTreeMap::new(),
    }
}

type Defs = BTreeMap<String, ToolDef>;

fn body(draft: draft::Body<'_>, tools: &dyn Tools, defs: &mut Defs) -> Arc<Body> {
    let (index, mut graph) = (draft.index, draft.graph);
    let mut nodes = Vec::with_capacity(draft.nodes.len());
    for (at, node) in draft.nodes.into_iter().enumerate() {
        // A node without a kind is a mistake, and mistakes end the loading before this.
        let Some(kind) = node.kind else { continue };
        let incoming = std::mem::take(&mut graph.incoming[at]);
        nodes.push(Node {
            id: node.id,
            title: node.title,
            kind: self::kind(kind, &index, tools, defs, (node.retry, node.on_unknown)),
            when: node.when.map(|when| when.value),
            incoming,
            next: routes(node.next, &graph, at),
            on_error: match (node.on_error, graph.handlers[at]) {
                (draft::OnError::Goto(_), Some(handler)) => OnError::Goto(handler),
                (draft::OnError::Continue, _) => OnError::Continue,
                _ => OnError::Fail,
            },
            retry: node.retry,
            timeout_ms: node.timeout_ms,
            deadline_ms: node.deadline_ms,
            heartbeat_ms: node.heartbeat_ms,
            effect: node.effect,
            on_unknown: node.on_unknown,
            probe: node.probe.and_then(|probe| self::probe(probe, defs)),
            idempotency: node.idempotency,
            max_visits: node.max_visits,
            compensate: node.compensate.and_then(|undo| compensation(*undo, tools, defs)),
            cost: node
                .cost
                .map(|node| NodeCost { most: cost(node.most), actual: node.actual.map(cost) }),
            budget: node.budget,
            on_budget: graph.degrades[at],
            approved_by: Vec::new(),
        });
    }
    for asker in 0..nodes.len() {
        if let Kind::Approval(Approval { of: Some(of), .. }) = nodes[asker].kind {
            nodes[of].approved_by.push(asker);
        }
    }
    Arc::new(Body { nodes, index })
}

fn routes(draft: Vec<draft::Route<'_>>, graph: &Graph, at: usize) -> Vec<Route> {
    let targets = &graph.routes[at];
    draft
        .into_iter()
        .zip(targets)
        .filter_map(|(route, target)| {
            let target = (*target)?;
            Some(Route {
                when: route.when.map(|when| when.value),
                to: target.to,
                back: target.back,
            })
        })
        .collect()
}

/// What undoes a node: a node without edges.
fn compensation(node: draft::Node<'_>, tools: &dyn Tools, defs: &mut Defs) -> Option<Box<Node>> {
    Some(Box::new(Node {
        id: node.id,
        title: None,
        kind: kind(node.kind?, &BTreeMap::new(), tools, defs, (node.retry, node.on_unknown)),
        when: None,
        incoming: Vec::new(),
        next: Vec::new(),
        on_error: OnError::Fail,
        retry: node.retry,
        timeout_ms: node.timeout_ms,
        deadline_ms: None,
        heartbeat_ms: None,
        effect: node.effect,
        on_unknown: node.on_unknown,
        probe: None,
        idempotency: None,
        max_visits: node.max_visits,
        approved_by: Vec::new(),
        compensate: None,
        cost: None,
        budget: None,
        on_budget: None,
    }))
}

fn kind(
    draft: draft::Kind<'_>,
    index: &BTreeMap<String, usize>,
    tools: &dyn Tools,
    defs: &mut Defs,
    calls: (Retry, OnUnknown),
) -> Kind {
    match draft {
        draft::Kind::Tool(tool) => {
            let (tool, with) = self::tool(tool, defs);
            Kind::Tool { tool, with }
        }
        draft::Kind::Code(code) => {
            let (retry, on_unknown) = calls;
            Kind::Code(function(code, retry, on_unknown, defs))
        }
        draft::Kind::Set(entries) => {
            Kind::Set(entries.into_iter().map(|(name, value)| (name, value.value)).collect())
        }
        draft::Kind::Switch { cases, otherwise } => Kind::Switch {
            cases: cases
                .into_iter()
                .map(|(when, nodes)| Case { when: when.value, body: body(nodes, tools, defs) })
                .collect(),
            otherwise: otherwise.map(|nodes| body(nodes, tools, defs)),
        },
        draft::Kind::Parallel(branches) => Kind::Parallel(
            branches
                .into_iter()
                .map(|(name, nodes)| Branch { name, body: body(nodes, tools, defs) })
                .collect(),
        ),
        draft::Kind::Map(map) => Kind::Map(Map {
            items: map.items.value,
            name: map.name,
            body: body(map.body, tools, defs),
            concurrency: map.concurrency,
            collect: map.collect,
        }),
        draft::Kind::Loop(again) => Kind::Loop(Loop {
            mode: match again.mode {
                draft::LoopMode::Times(times) => LoopMode::Times(times.value),
                draft::LoopMode::While(condition) => LoopMode::While(condition.value),
                draft::LoopMode::Until(condition) => LoopMode::Until(condition.value),
            },
            max: again.max,
            collect: again.collect,
            body: body(again.body, tools, defs),
        }),
        draft::Kind::Sleep(span) => Kind::Sleep(Sleep { span: span.value }),
        draft::Kind::Wait { signal, timeout_ms } => {
            Kind::Wait(Wait { signal: signal.value, timeout_ms })
        }
        draft::Kind::Approval(approval) => Kind::Approval(Approval {
            of: approval.of.and_then(|of| index.get(&of.value).copied()),
            message: approval.message.map(|message| message.value),
            show: approval.show.map(|show| show.value),
            roles: approval.roles,
            quorum: approval.quorum,
            expires_ms: approval.expires_ms,
        }),
        draft::Kind::Verify(verify) => {
            if let Some(def) = tools.get("verify") {
                defs.entry("verify".to_owned()).or_insert(def);
            }
            Kind::Verify(verification(verify))
        }
        draft::Kind::Child(child) => Kind::Child(Child {
            file: child.file,
            input: child.input.map(|input| input.value),
            detached: child.detached,
        }),
        draft::Kind::Continue(input) => Kind::Continue(input.map(|input| input.value)),
    }
}

/// A function. Its node's tries and doubt are those of the calls that it makes.
fn function(
    draft: draft::Function<'_>,
    retry: Retry,
    on_unknown: OnUnknown,
    defs: &mut Defs,
) -> Function {
    let call = Node {
        id: CALL.to_owned(),
        title: None,
        kind: Kind::Tool { tool: String::new(), with: no_parameters() },
        when: None,
        incoming: Vec::new(),
        next: Vec::new(),
        on_error: OnError::Fail,
        retry,
        timeout_ms: None,
        heartbeat_ms: None,
        deadline_ms: None,
        effect: None,
        on_unknown,
        probe: None,
        idempotency: None,
        max_visits: 1,
        compensate: None,
        cost: None,
        budget: None,
        on_budget: None,
        approved_by: Vec::new(),
    };
    let index = BTreeMap::from([(CALL.to_owned(), 0)]);
    let tools = draft.tools.into_iter().map(|(name, def)| {
        defs.entry(name.clone()).or_insert_with(|| (*def).clone());
        name
    });
    Function {
        name: draft.name,
        tools: tools.collect(),
        with: draft.with.map_or_else(no_parameters, |with| with.value),
        calls: Arc::new(Body { nodes: vec![call], index }),
    }
}

fn tool(draft: draft::Tool<'_>, defs: &mut Defs) -> (String, Template) {
    if let Some(def) = draft.def {
        defs.entry(draft.name.clone()).or_insert_with(|| (*def).clone());
    }
    (draft.name, draft.with.map_or_else(no_parameters, |with| with.value))
}

/// A probe without mistakes; one with mistakes ended the loading before this.
fn probe(draft: draft::Probe<'_>, defs: &mut Defs) -> Option<Probe> {
    let (tool, with) = self::tool(draft.tool?, defs);
    Some(Probe {
        tool,
        with,
        done: draft.done?.value,
        not_done: draft.not_done.map(|not_done| not_done.value),
        output: draft.output.map(|output| output.value),
    })
}

fn cost(draft: draft::Cost<'_>) -> Cost {
    Cost { usd: draft.usd.map(|usd| usd.value), tokens: draft.tokens.map(|tokens| tokens.value) }
}

fn verification(draft: draft::Verify<'_>) -> Verify {
    Verify {
        value: draft.value.value,
        schema: draft.schema,
        checks: draft
            .checks
            .into_iter()
            .map(|check| Check { name: check.name, that: check.that.value, weight: check.weight })
            .collect(),
        min_score: draft.min_score,
    }
}

fn no_parameters() -> Template {
    Template::Literal(Arc::new(serde_json::json!({})))
}
