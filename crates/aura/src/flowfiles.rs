//! A flow file with the files of the flows that it starts as child runs.
//!
//! A file is named by its path from the folder of the file that names it, and must lie in the folder of the flow file
//! that was given, or below it: a flow can't read what lies elsewhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use aura_core::error::{Code, Problem};
use aura_core::limits;
use aura_graph::definition::{self, BundleError, Diagnostics, Flows};

use crate::wire;

/// A flow with those that it starts.
#[derive(Debug, Clone)]
pub(crate) struct FlowFiles {
    /// The text of the flow file.
    pub(crate) source: String,
    /// The texts of the others, by their path from its folder.
    pub(crate) files: BTreeMap<String, String>,
    /// All of them, compiled.
    pub(crate) flows: Flows,
}

/// Why flow files can't be used.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// This file has mistakes.
    Mistakes {
        /// The file as a person knows it.
        name: String,
        /// Its text.
        source: String,
        /// What is wrong.
        found: Diagnostics,
    },
    /// Anything else.
    Problem(Problem),
}

impl From<Problem> for Wrong {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Reads a flow file and those that it starts, and theirs.
pub(crate) fn open(path: &Path) -> Result<FlowFiles, Wrong> {
    let source = read_flow(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let mut files = BTreeMap::new();
    let mut open = wanted(path, None, &source)?;
    while let Some((file, node)) = open.pop() {
        if files.contains_key(&file) {
            continue;
        }
        if files.len() >= limits::BUNDLE_FLOWS {
            let most = limits::BUNDLE_FLOWS;
            let what = format!("the flow starts more than {most} other flows");
            return Err(Problem::new(Code::LimitExceeded, what).into());
        }
        let place = folder.join(&file);
        let text = within(folder, &place, &node).and_then(|()| read_flow(&place))?;
        open.extend(wanted(&place, Some(&file), &text)?);
        files.insert(file, text);
    }
    of(path, source, files)
}

/// A flow whose texts are at hand; `path` is where its file lies, or what a person calls it.
pub(crate) fn of(
    path: &Path,
    source: String,
    mut files: BTreeMap<String, String>,
) -> Result<FlowFiles, Wrong> {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    match Flows::load(&source, &files, &wire::catalog()) {
        Ok(flows) => Ok(FlowFiles { source, files, flows }),
        Err(BundleError::Invalid { file, found }) => {
            let name = file.as_ref().map_or_else(|| path.to_owned(), |file| folder.join(file));
            let text = file.and_then(|file| files.remove(&file)).unwrap_or(source);
            Err(Wrong::Mistakes { name: name.display().to_string(), source: text, found })
        }
        Err(error @ BundleError::Child { .. }) => {
            Err(Problem::new(Code::FlowInvalid, error.to_string()).next("mend the file").into())
        }
    }
}

/// The files that a flow starts, by their path from the folder of the first one, each with a node that names it.
fn wanted(path: &Path, file: Option<&str>, source: &str) -> Result<Vec<(String, String)>, Wrong> {
    let flow = definition::load(source, &wire::catalog()).map_err(|found| Wrong::Mistakes {
        name: path.display().to_string(),
        source: source.to_owned(),
        found,
    })?;
    let mut wanted = Vec::new();
    for (node, child) in flow.child_nodes() {
        let node = format!("the node '{node}' of {}", path.display());
        let place = definition::place(file, &child.file).ok_or_else(|| {
            let what = format!("{node} names '{}', which lies outside", child.file);
            Problem::new(Code::FlowInvalid, what)
                .next("put the file into the folder of the flow file, or below it")
        })?;
        wanted.push((place, node));
    }
    Ok(wanted)
}

/// Whether a file really lies in the folder: links may lead elsewhere.
fn within(folder: &Path, place: &Path, node: &str) -> Result<(), Problem> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let failed = |why: std::io::Error| {
        Problem::new(Code::FlowInvalid, format!("{node} names {}: {why}", place.display()))
            .next("name a flow file that is there")
    };
    let real = place.canonicalize().map_err(failed)?;
    if !real.starts_with(here.canonicalize().map_err(failed)?) {
        let what = format!("{node} names {}, which leads out of the folder", place.display());
        return Err(Problem::new(Code::FlowInvalid, what)
            .next("put the file into the folder of the flow file, or below it"));
    }
    Ok(())
}

/// The text of a flow file.
pub(crate) fn read_flow(path: &Path) -> Result<String, Problem> {
    let shown = path.display();
    let failed = |why: String| {
        Problem::new(Code::Usage, format!("{shown} can't be read: {why}"))
            .next("name a flow file, YAML or JSON")
    };
    let file = File::open(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Problem::new(Code::Usage, format!("there is no file {shown}"))
            .next("name a flow file that is there; aura new flow.yaml writes a first one"),
        _ => failed(e.to_string()),
    })?;
    let mut bytes = Vec::new();
    let read = file.take(limits::FLOW_FILE_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| failed(e.to_string()))?;
    if bytes.len() > limits::FLOW_FILE_BYTES {
        return Err(failed(format!("it has more than {} bytes", limits::FLOW_FILE_BYTES)));
    }
    String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))
}
