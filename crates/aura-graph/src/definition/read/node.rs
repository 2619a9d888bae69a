//! A list of nodes, and what all kinds of node have in common.

use std::collections::BTreeSet;
use std::ops::Range;

use aura_core::effect::EffectClass;
use aura_core::limits;
use aura_core::task::{Idempotency, OnUnknown, Retry, Scope};
use aura_core::time::Span;

use super::Reader;
use super::fields::{Fields, join};
use super::values::mended;
use crate::definition::draft::{Body, Kind, Node, OnError, Placed, Route};
use crate::definition::file::{KINDS, ONLY_ON};
use crate::definition::suggest::one_of;
use crate::definition::tree::Tree;

impl Reader<'_> {
    /// A list of nodes.
    pub(super) fn body<'t>(&mut self, tree: &'t Tree, path: &str) -> Body<'t> {
        let mut body = Body::default();
        let Some(items) = tree.as_list() else {
            self.expected(tree, path, "a list of nodes")
                .suggest("start each node with '- id: NAME'");
            return body;
        };
        if items.is_empty() {
            self.note(&tree.span, path, "a list of nodes can't be empty").suggest("add a node");
        }
        // The flow's own list is not within another.
        if self.bodies > limits::FLOW_NESTING {
            let message = format!("nodes stand within nodes at most {} deep", limits::FLOW_NESTING);
            self.note(&tree.span, path, message);
            return body;
        }
        self.bodies += 1;
        for (at, item) in items.iter().enumerate() {
            self.nodes += 1;
            if self.nodes > limits::FLOW_NODES {
                if self.nodes == limits::FLOW_NODES + 1 {
                    let message = format!("a flow has at most {} nodes", limits::FLOW_NODES);
                    self.note(&item.span, path, message);
                }
                break;
            }
            let node = self.node(item, &format!("{path}[{at}]"));
            self.enter(&mut body, node);
        }
        self.bodies -= 1;
        body
    }

    fn enter<'t>(&mut self, body: &mut Body<'t>, mut node: Node<'t>) {
        if !node.id.is_empty() {
            if body.index.contains_key(&node.id) {
                let message = format!("the id '{}' is taken by a node above", node.id);
                self.note(&node.span, &join(&node.path, "id"), message)
                    .suggest(format!("write '{}_2'", node.id));
                node.id.clear();
            } else {
                body.index.insert(node.id.clone(), body.nodes.len());
            }
        }
        body.nodes.push(node);
    }

    fn node<'t>(&mut self, tree: &'t Tree, path: &str) -> Node<'t> {
        let mut node = blank(tree, path);
        let Some(fields) = self.fields(tree, path, "Node") else { return node };
        node.span = fields.start.clone();
        if let Some(id) = self.required(&fields, "id", "NAME") {
            node.span = id.span.clone();
            node.id = self.node_id(id, &fields.path("id"));
        }
        let word = self.kind_word(&fields);
        self.only_on(&fields, word);
        node.kind = word.and_then(|word| self.kind(&fields, word));
        node.title = self.text_of(&fields, "title");
        node.when = fields.get("when").and_then(|when| self.condition(when, &fields.path("when")));
        node.after = fields.get("after").map(|after| self.ids(after, &fields.path("after")));
        node.next = fields
            .get("next")
            .map(|next| self.routes(next, &fields.path("next")))
            .unwrap_or_default();
        node.on_error = self.on_error(&fields);
        self.attempts(&mut node, &fields);
        node.deadline_ms = self.duration(&fields, "deadline");
        node.heartbeat_ms = self.heartbeat(&fields);
        node.on_unknown = match self.word(&fields, "on_unknown", &["ask", "probe", "fail"], &[]) {
            Some("fail") => OnUnknown::Fail,
            Some("probe") => OnUnknown::Probe,
            _ => OnUnknown::Ask,
        };
        node.probe = self.probe(&fields);
        node.idempotency = self.idempotency(&fields);
        node.cost = fields.get("cost").and_then(|cost| self.node_cost(cost, &fields.path("cost")));
        node.budget = self.budget(&fields);
        node.on_budget =
            fields.get("on_budget").and_then(|tree| self.target(tree, &fields.path("on_budget")));
        let visits = self.whole(&fields, "max_visits", 1, u64::from(limits::VISITS));
        node.max_visits = visits.and_then(|v| u32::try_from(v).ok()).unwrap_or(limits::VISITS);
        node.compensate = self.compensate(&fields).map(Box::new);
        node
    }

    /// How a call is tried, and how it marks the world.
    fn attempts(&mut self, node: &mut Node<'_>, fields: &Fields<'_>) {
        node.retry = self.retry(fields);
        node.timeout_ms = self.duration(fields, "timeout");
        node.effect = self.effect(fields);
        node.effect_span = fields.get("effect").map(|effect| effect.span.clone());
    }

    /// The time between two signs of life. They are recorded once a second, so that less would be missed.
    fn heartbeat(&mut self, fields: &Fields<'_>) -> Option<u64> {
        let span = self.duration(fields, "heartbeat")?;
        if span < limits::HEARTBEAT_MIN_MS {
            let message = format!("a heartbeat is at least {}", Span(limits::HEARTBEAT_MIN_MS));
            self.note(&fields.key_span("heartbeat"), &fields.path("heartbeat"), message);
        }
        Some(span)
    }

    /// What undoes a node.
    fn compensate<'t>(&mut self, fields: &Fields<'t>) -> Option<Node<'t>> {
        let tree = fields.get("compensate")?;
        let path = fields.path("compensate");
        let fields = self.fields(tree, &path, "Compensate")?;
        let tool = self.required(&fields, "tool", "NAME")?;
        let mut node = blank(tree, &path);
        "compensate".clone_into(&mut node.id);
        node.kind = self.tool(&fields, tool, &fields.path("tool")).map(Kind::Tool);
        self.attempts(&mut node, &fields);
        Some(node)
    }

    /// The id of a node. One that is nearly right counts as what it should be, so that what refers to it is not
    /// called unknown as well.
    fn node_id(&mut self, tree: &Tree, path: &str) -> String {
        match self.id(tree, path) {
            Some(id) => id.to_owned(),
            None => tree
                .as_text()
                .filter(|text| text.len() <= limits::NAME_BYTES)
                .map(mended)
                .unwrap_or_default(),
        }
    }

    /// The one kind of a node.
    fn kind_word(&mut self, fields: &Fields<'_>) -> Option<&'static str> {
        let mut found: Option<&'static str> = None;
        for key in fields.keys() {
            let Some(kind) = KINDS.iter().find(|kind| **kind == key.text) else { continue };
            match found {
                None => found = Some(kind),
                Some(first) => {
                    let message =
                        format!("a node has one kind; this one has '{first}' and '{kind}'");
                    self.note(&key.span, &fields.path(kind), message)
                        .suggest("make two nodes of it");
                }
            }
        }
        if found.is_none() && !fields.strange {
            self.note(&fields.start, &fields.path, "the node has no kind")
                .suggest(format!("add {}", one_of(KINDS)));
        }
        found
    }

    fn only_on(&mut self, fields: &Fields<'_>, kind: Option<&str>) {
        let Some(kind) = kind else { return };
        for (key, kinds, reason) in ONLY_ON {
            if fields.get(key).is_some() && !kinds.contains(&kind) {
                let message = format!("'{key}' means nothing on a '{kind}' node: {reason}");
                self.note(&fields.key_span(key), &fields.path(key), message)
                    .suggest("leave it out");
            }
        }
    }

    /// An id or a list of ids.
    fn ids<'t>(&mut self, tree: &'t Tree, path: &str) -> Vec<Placed<'t, String>> {
        let Some(items) = tree.as_list() else {
            return self.target(tree, path).into_iter().collect();
        };
        let mut ids = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let path = format!("{path}[{at}]");
            let Some(id) = self.target(item, &path) else { continue };
            if !seen.insert(id.value.clone()) {
                let message = format!("'{}' is named twice", id.value);
                self.note(&item.span, &path, message).suggest("keep one of them");
                continue;
            }
            ids.push(id);
        }
        ids
    }

    /// The id of another node.
    pub(super) fn target<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Placed<'t, String>> {
        let id = self.id(tree, path)?.to_owned();
        Some(Placed { value: id, tree, path: path.to_owned() })
    }

    fn routes<'t>(&mut self, tree: &'t Tree, path: &str) -> Vec<Route<'t>> {
        let Some(items) = tree.as_list() else {
            if tree.as_text().is_none() {
                self.expected(tree, path, "a node id or a list of routes")
                    .suggest("write 'next: ID' or 'next: [{ when: \"{{ … }}\", to: ID }]'");
                return Vec::new();
            }
            return self
                .target(tree, path)
                .map(|to| Route { when: None, to })
                .into_iter()
                .collect();
        };
        let mut routes = Vec::new();
        let mut always: Option<Range<usize>> = None;
        for (at, item) in items.iter().enumerate() {
            let path = format!("{path}[{at}]");
            if always.is_some() {
                self.note(
                    &item.span,
                    &path,
                    "this route is never taken: the one above has no 'when'",
                )
                .suggest("give that one a 'when', or leave this one out");
            }
            let Some(fields) = self.fields(item, &path, "Route") else { continue };
            let to = self.required(&fields, "to", "ID");
            let to = to.and_then(|to| self.target(to, &fields.path("to")));
            let when = fields.get("when");
            if when.is_none() && !fields.strange {
                always = Some(item.span.clone());
            }
            let condition = when.and_then(|when| self.condition(when, &fields.path("when")));
            // A route whose condition can't be read is not one that is always taken.
            if let Some(to) = to
                && when.is_some() == condition.is_some()
            {
                routes.push(Route { when: condition, to });
            }
        }
        routes
    }

    fn on_error<'t>(&mut self, fields: &Fields<'t>) -> OnError<'t> {
        let Some(tree) = fields.get("on_error") else { return OnError::Fail };
        match tree.as_text() {
            Some("fail") => OnError::Fail,
            Some("continue") => OnError::Continue,
            _ => self.target(tree, &fields.path("on_error")).map_or(OnError::Fail, OnError::Goto),
        }
    }

    fn retry(&mut self, fields: &Fields<'_>) -> Retry {
        let mut retry = Retry::default();
        let Some(tree) = fields.get("retry") else { return retry };
        let Some(fields) = self.fields(tree, &fields.path("retry"), "Retry") else { return retry };
        let attempts = self.whole(&fields, "max_attempts", 1, u64::from(limits::ATTEMPTS));
        if let Some(attempts) = attempts.and_then(|attempts| u32::try_from(attempts).ok()) {
            retry.max_attempts = attempts;
        }
        let (initial, max) = (self.duration(&fields, "initial"), self.duration(&fields, "max"));
        retry.initial_ms = initial.unwrap_or(retry.initial_ms);
        // A first wait above the usual longest one is meant as it is written.
        retry.max_ms = max.unwrap_or(retry.max_ms.max(retry.initial_ms));
        if let (Some(initial), Some(max)) = (initial, max)
            && max < initial
        {
            let message = "the longest wait 'max' is shorter than the first wait 'initial'";
            self.note(&fields.key_span("max"), &fields.path("max"), message);
        }
        retry.factor = self.number(&fields, "factor", 1.0..=100.0).unwrap_or(retry.factor);
        retry
    }

    fn idempotency(&mut self, fields: &Fields<'_>) -> Option<Idempotency> {
        let path = fields.path("idempotency");
        let fields = self.fields(fields.get("idempotency")?, &path, "Idempotency")?;
        let scope = match self.word(&fields, "scope", &["run", "flow", "tenant"], &[]) {
            Some("flow") => Some(Scope::Flow),
            Some("tenant") => Some(Scope::Tenant),
            _ => None,
        };
        let ttl = self.duration(&fields, "ttl");
        let span = fields.key_span("ttl");
        if scope.is_none() && ttl.is_some() {
            let message = "the key of one step is never given again, so its result has no 'ttl'";
            self.note(&span, &fields.path("ttl"), message)
                .suggest("add 'scope: flow' or 'scope: tenant', or leave 'ttl' out");
        }
        if ttl.is_some_and(|ttl| ttl > limits::REUSE_MAX_MS) {
            let message = "a result is given again for at most 30d";
            self.note(&span, &fields.path("ttl"), message);
        }
        Some(Idempotency { scope: scope?, ttl_ms: ttl.unwrap_or(limits::REUSE_MS) })
    }

    fn effect(&mut self, fields: &Fields<'_>) -> Option<EffectClass> {
        let words = ["pure", "read", "idempotent", "reconcilable", "irreversible"];
        match self.word(fields, "effect", &words, &[])? {
            "pure" => Some(EffectClass::Pure),
            "read" => Some(EffectClass::Read),
            "idempotent" => Some(EffectClass::Idempotent),
            "reconcilable" => Some(EffectClass::Reconcilable),
            _ => Some(EffectClass::Irreversible),
        }
    }
}

/// A node of which nothing is read yet.
fn blank<'t>(tree: &'t Tree, path: &str) -> Node<'t> {
    Node {
        id: String::new(),
        span: tree.span.clone(),
        path: path.to_owned(),
        title: None,
        kind: None,
        when: None,
        after: None,
        next: Vec::new(),
        on_error: OnError::Fail,
        retry: Retry::default(),
        timeout_ms: None,
        deadline_ms: None,
        heartbeat_ms: None,
        effect: None,
        effect_span: None,
        on_unknown: OnUnknown::default(),
        probe: None,
        idempotency: None,
        max_visits: limits::VISITS,
        cost: None,
        budget: None,
        on_budget: None,
        compensate: None,
    }
}
