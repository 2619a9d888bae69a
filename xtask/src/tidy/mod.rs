//! `cargo xtask tidy`: the rules of the repository that neither the compiler nor clippy knows.
//!
//! Every check is a plain function from the files (and what cargo knows) to findings, one module per subject.

mod budgets;
mod edges;
mod finding;
mod lexer;
mod manifests;
mod markers;
mod pairs;
mod root;
mod tree;
mod words;

use anyhow::bail;

use crate::workspace::Workspace;
use finding::{Finding, Level};

/// Checks every file that git knows, or would take.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let files = tree::load(&workspace.root)?;
    let mut findings: Vec<Finding> = [
        root::check(&files),
        edges::check(&workspace.packages, &files),
        manifests::check(&files),
        budgets::check(&files),
        markers::check(&files),
        words::check(&files),
        pairs::error_pages(&files),
        pairs::migrations(&files),
    ]
    .into_iter()
    .flatten()
    .collect();
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let notes = findings.len() - errors;
    println!("tidy: {} files, {errors} errors, {notes} notes", files.len());
    if errors > 0 {
        bail!("{errors} errors, listed above");
    }
    Ok(())
}
