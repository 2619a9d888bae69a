//! Where a `next` may lead back: only over a plain chain of one list, whose nodes can all be visited again without
//! anything else having seen them settled.

use super::diagnostic::Findings;
use super::draft::{Body, OnError};
use super::edges::Graph;
use super::model::Via;

/// Notes every route back that is not a jump over a plain chain.
pub(super) fn check(body: &Body<'_>, graph: &Graph, findings: &mut Findings) {
    let mut waited = vec![Vec::new(); body.nodes.len()];
    for (at, edges) in graph.incoming.iter().enumerate() {
        for edge in edges.iter().filter(|edge| edge.via == Via::After) {
            waited[edge.from].push(at);
        }
    }
    for (jumper, node) in body.nodes.iter().enumerate() {
        let routes = node.next.iter().zip(&graph.routes[jumper]);
        for (route, target) in routes {
            let Some(target) = target.filter(|target| target.back) else { continue };
            let to = &route.to;
            if route.when.is_none() {
                let message = format!(
                    "cycle without bound: '{}' always goes back to '{}'",
                    node.id, to.value
                );
                findings.add(to.span(), &to.path, message).suggest("give the route a 'when'");
            }
            if let Some(why) = broken_chain(body, graph, &waited, target.to..=jumper) {
                let message = format!("can't go back from '{}' to '{}': {why}", node.id, to.value);
                findings
                    .add(to.span(), &to.path, message)
                    .suggest("repeat these nodes with a 'loop' instead");
            }
        }
    }
}

/// Why the nodes of a range are not a plain chain, if they are not.
fn broken_chain(
    body: &Body<'_>,
    graph: &Graph,
    waited: &[Vec<usize>],
    range: std::ops::RangeInclusive<usize>,
) -> Option<String> {
    let (first, last) = (*range.start(), *range.end());
    if body.nodes[last].next.len() > 1 {
        return Some(format!("'{}' has another route", body.nodes[last].id));
    }
    for at in range {
        let node = &body.nodes[at];
        let routed_to =
            graph.incoming[at].iter().find(|edge| matches!(edge.via, Via::Next | Via::Error));
        if let Some(edge) = routed_to {
            // A handler between the lines is no part of the chain; what leads to it is looked at where it stands.
            if at != first && at != last {
                continue;
            }
            return Some(format!("'{}' leads to '{}' as well", body.nodes[edge.from].id, node.id));
        }
        if node.after.is_some() {
            return Some(format!("'{}' has an 'after'", node.id));
        }
        if let Some(other) = &node.on_budget {
            let (id, other) = (&node.id, &other.value);
            return Some(format!("'{id}' leads to '{other}' when its budget is used up"));
        }
        if let OnError::Goto(handler) = &node.on_error {
            return Some(format!("'{}' leads to '{}' when it fails", node.id, handler.value));
        }
        if at != last && !node.next.is_empty() {
            return Some(format!("'{}' has a 'next' of its own", node.id));
        }
        if at != last
            && let Some(other) = waited[at].first()
        {
            return Some(format!("'{}' waits for '{}'", body.nodes[*other].id, node.id));
        }
    }
    None
}
