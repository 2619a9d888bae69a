//! From a tree to a draft: which keys there are, and what a value under each may be.
//!
//! Nothing here knows how nodes relate to each other; that is for `edges` and `references`, once all are read.

mod budget;
mod fields;
mod flow;
mod kinds;
mod node;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use aura_core::tool::ToolDef;

use super::diagnostic::{Finding, Findings};
use super::draft;
use super::model::Tools;
use super::tree::Tree;

/// Reads a whole file. What can't be read is noted and left out, so that the rest is still checked.
pub(super) fn flow<'t>(
    tree: &'t Tree,
    tools: &dyn Tools,
    findings: &mut Findings,
) -> draft::Flow<'t> {
    Reader { findings, tools, defs: BTreeMap::new(), nodes: 0, bodies: 0 }.flow(tree)
}

struct Reader<'r> {
    findings: &'r mut Findings,
    tools: &'r dyn Tools,
    /// Definitions asked for so far; nodes share them.
    defs: BTreeMap<String, Option<Rc<ToolDef>>>,
    /// Nodes read so far, bodies included.
    nodes: usize,
    /// Bodies around the one that is being read.
    bodies: usize,
}

impl Reader<'_> {
    fn note(
        &mut self,
        span: &Range<usize>,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.findings.add(span, path, message)
    }

    /// The definition of a tool.
    fn def(&mut self, name: &str) -> Option<Rc<ToolDef>> {
        if let Some(known) = self.defs.get(name) {
            return known.clone();
        }
        let def = self.tools.get(name).map(Rc::new);
        self.defs.insert(name.to_owned(), def.clone());
        def
    }

    /// Notes that a value is not of the form that its key asks for.
    fn expected(&mut self, tree: &Tree, path: &str, what: &str) -> &mut Finding {
        let found = tree.word();
        self.findings.add(&tree.span, path, format!("expected {what}, found {found}"))
    }
}
