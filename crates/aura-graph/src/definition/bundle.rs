//! A flow together with those that it starts as child runs: the files of a bundle, each loaded and linked.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::schema::Schema;
use aura_core::tool::ToolDef;
use serde_json::{Value, json};

use super::diagnostic::Diagnostics;
use super::load::load;
use super::model::{Body, Child, Flow, Heading, Kind, Tools};

/// The flows of a bundle.
#[derive(Debug, Clone)]
pub struct Flows {
    /// The bundle's own flow.
    pub main: Arc<Flow>,
    /// Those that are started as child runs, by the path of their file.
    pub files: BTreeMap<String, Arc<Flow>>,
}

/// A bundle that does not load.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file has mistakes.
    #[error("{}{}", in_file(.file.as_ref()), .found.problems.first().map(ToString::to_string).unwrap_or_default())]
    Invalid {
        /// The file; absent for the bundle's own flow.
        file: Option<String>,
        /// What is wrong.
        found: Diagnostics,
    },
    /// A node does not fit the flow that it starts.
    #[error("{}the node '{node}' can't start '{wanted}': {why}", in_file(.file.as_ref()))]
    Child {
        /// The file of the node; absent for the bundle's own flow.
        file: Option<String>,
        /// The node.
        node: String,
        /// The file that it names.
        wanted: String,
        /// Why.
        why: String,
    },
}

fn in_file(file: Option<&String>) -> String {
    file.map(|file| format!("{file}: ")).unwrap_or_default()
}

/// The path within a bundle of a file that the flow at `from` names; `None` where that leads out of the folder of the
/// bundle's own flow.
pub fn place(from: Option<&str>, file: &str) -> Option<String> {
    if file.starts_with('/') {
        return None;
    }
    let folder = from.and_then(|from| from.rsplit_once('/')).map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

impl Flows {
    /// Loads a flow with the files of those that it starts, by their path from its folder.
    ///
    /// # Errors
    /// The first file with mistakes, or the first node that names a file which is not there, or which takes another
    /// input.
    pub fn load(
        source: &str,
        files: &BTreeMap<String, String>,
        tools: &dyn Tools,
    ) -> Result<Self, BundleError> {
        let invalid = |file: Option<&String>| {
            let file = file.cloned();
            |found| BundleError::Invalid { file, found }
        };
        let mut main = load(source, tools).map_err(invalid(None))?;
        let mut loaded = BTreeMap::new();
        for (file, text) in files {
            let mut flow = load(text, tools).map_err(invalid(Some(file)))?;
            flow.file = Some(file.clone());
            loaded.insert(file.clone(), flow);
        }
        let headings: BTreeMap<_, _> =
            loaded.iter().map(|(file, flow)| (file.clone(), heading(file, flow))).collect();
        main.link(&headings)?;
        for flow in loaded.values_mut() {
            flow.link(&headings)?;
        }
        let files = loaded.into_iter().map(|(file, flow)| (file, Arc::new(flow))).collect();
        Ok(Self { main: Arc::new(main), files })
    }

    /// The flow at a path; without one, the bundle's own.
    pub fn get(&self, file: Option<&str>) -> Option<&Arc<Flow>> {
        match file {
            None => Some(&self.main),
            Some(file) => self.files.get(file),
        }
    }

    /// The definitions of the tools that any of them names.
    pub fn tools(&self) -> BTreeMap<String, ToolDef> {
        let all = std::iter::once(&self.main).chain(self.files.values());
        all.flat_map(|flow| flow.tools.clone()).collect()
    }
}

fn heading(file: &str, flow: &Flow) -> Heading {
    Heading {
        file: file.to_owned(),
        name: flow.name.clone(),
        version: flow.version.clone(),
        hash: flow.hash,
        input: flow.input.clone(),
        budget: flow.budget,
    }
}

impl Flow {
    /// Its `flow` nodes, each with its id, in the order of the file.
    pub fn child_nodes(&self) -> Vec<(&str, &Child)> {
        let mut found = Vec::new();
        collect(&self.body, &mut found);
        found
    }

    fn link(&mut self, headings: &BTreeMap<String, Heading>) -> Result<(), BundleError> {
        let mut children = BTreeMap::new();
        for (id, child) in self.child_nodes() {
            let wrong = |why: String| BundleError::Child {
                file: self.file.clone(),
                node: id.to_owned(),
                wanted: child.file.clone(),
                why,
            };
            let place = place(self.file.as_deref(), &child.file).ok_or_else(|| {
                wrong("it lies outside of the folder of the flow file".to_owned())
            })?;
            let heading =
                headings.get(&place).ok_or_else(|| wrong("there is no such file".to_owned()))?;
            let none = json!({});
            let given = child.input.as_ref().map_or(Some(&none), |input| input.as_literal());
            if let Some(given) = given {
                heading.takes(given).map_err(wrong)?;
            }
            children.insert(child.file.clone(), heading.clone());
        }
        self.children = children;
        Ok(())
    }
}

impl Heading {
    /// Whether the flow takes this input.
    ///
    /// # Errors
    /// What does not fit.
    pub fn takes(&self, input: &Value) -> Result<(), String> {
        fits(self.input.as_ref(), input)
    }
}

/// Whether a value fits the schema of an input.
///
/// # Errors
/// What does not fit.
pub(crate) fn fits(schema: Option<&Value>, input: &Value) -> Result<(), String> {
    let Some(schema) = schema else { return Ok(()) };
    let schema = Schema::compile(schema)?;
    match schema.violations(input).first() {
        None => Ok(()),
        Some(violation) => Err(format!("its input does not fit: {violation}")),
    }
}

/// Lists within lists are bounded, so this may recurse.
fn collect<'f>(body: &'f Body, found: &mut Vec<(&'f str, &'f Child)>) {
    for node in &body.nodes {
        if let Kind::Child(child) = &node.kind {
            found.push((&node.id, child));
        }
        for (_, inner) in node.kind.bodies() {
            collect(inner, found);
        }
    }
}
