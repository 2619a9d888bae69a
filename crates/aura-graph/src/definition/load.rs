//! Loading a flow: text, tree, draft, edges, references, model. Every stage notes what is wrong and goes on with
//! the rest, so that one look at the answer is enough to mend a file.

use std::collections::BTreeSet;

use super::diagnostic::{Diagnostics, Findings};
use super::draft::Body;
use super::model::{Flow, Tools};
use super::{build, edges, read, references, yaml};

/// Reads a flow file, YAML 1.2 or JSON, and checks everything that can be known before it runs.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn load(source: &str, tools: &dyn Tools) -> Result<Flow, Diagnostics> {
    let mut findings = Findings::default();
    let Some(tree) = yaml::parse(source, &mut findings) else {
        return Err(findings.finish(source));
    };
    let mut draft = read::flow(&tree, tools, &mut findings);
    let mut ids = BTreeSet::new();
    collect(&draft.body, &mut ids);
    edges::connect(&mut draft.body, &ids, &mut findings);
    references::check(&draft, source, tools, &mut findings);
    if !findings.is_empty() {
        return Err(findings.finish(source));
    }
    Ok(build::flow(draft, source, tools))
}

/// Every id of a flow. Lists within lists are bounded, so this may recurse.
fn collect(body: &Body<'_>, ids: &mut BTreeSet<String>) {
    for node in &body.nodes {
        ids.insert(node.id.clone());
        for inner in node.kind.iter().flat_map(super::draft::Kind::bodies) {
            collect(inner, ids);
        }
    }
}
