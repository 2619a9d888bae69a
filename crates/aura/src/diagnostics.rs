//! What is wrong with a flow file, drawn beside its text.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use aura_core::error::{Code, Problem};
use aura_graph::definition::{Diagnostic, Diagnostics};
use serde_json::{Value, json};

use crate::context::Context;
use crate::flowfiles::{FlowFiles, Wrong};

/// All problems of a file, each with its place in the text and what to do.
fn render(name: &str, source: &str, found: &Diagnostics, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for problem in &found.problems {
        let drawn = drawing(name, source, problem);
        out.push_str(&renderer.render(&drawn));
        out.push_str("\n\n");
    }
    if found.omitted > 0 {
        let _ = writeln!(out, "and {} more\n", found.omitted);
    }
    out
}

fn drawing<'a>(name: &'a str, source: &'a str, problem: &'a Diagnostic) -> Vec<Group<'a>> {
    let end = problem.span.end.max(problem.span.start);
    let annotation = AnnotationKind::Primary.span(problem.span.start..end);
    let snippet = Snippet::source(source).path(name).line_start(1).annotation(annotation);
    let mut group = Level::ERROR.primary_title(problem.message.as_str()).element(snippet);
    if let Some(suggestion) = &problem.suggestion {
        group = group.element(Level::HELP.message(suggestion.as_str()));
    }
    vec![group]
}

/// All problems of a file, for programs.
pub(crate) fn document(name: &str, found: &Diagnostics) -> Value {
    let problems: Vec<_> = found
        .problems
        .iter()
        .map(|problem| {
            json!({
                "file": name, "line": problem.line, "column": problem.column,
                "start": problem.span.start, "end": problem.span.end, "path": problem.path,
                "message": problem.message, "suggestion": problem.suggestion,
            })
        })
        .collect();
    json!({ "problems": problems, "omitted": found.omitted })
}

/// The one-line summary that follows the drawings.
fn summary(name: &str, found: &Diagnostics) -> Problem {
    let count = found.problems.len() + found.omitted;
    let problems = if count == 1 { "problem" } else { "problems" };
    Problem::new(Code::FlowInvalid, format!("{name} has {count} {problems}"))
        .next(format!("mend the file, then: aura validate {name}"))
}

/// Tells all problems of a file: drawn for people, as one document for programs.
pub(crate) fn report(context: &Context, name: &str, source: &str, found: &Diagnostics) {
    let problem = summary(name, found);
    if context.out.json {
        let mut error = json!(problem);
        error["details"] = document(name, found);
        return context.out.document(&json!({ "error": error }));
    }
    context.out.note(render(name, source, found, context.out.note_color()).trim_end());
    context.out.note("");
    context.out.problem(&problem);
}

/// Flow files that were opened; `None` if one has mistakes, which are told by then.
pub(crate) fn opened(
    context: &Context,
    files: Result<FlowFiles, Wrong>,
) -> Result<Option<FlowFiles>, Problem> {
    match files {
        Ok(files) => Ok(Some(files)),
        Err(Wrong::Mistakes { name, source, found }) => {
            report(context, &name, &source, &found);
            Ok(None)
        }
        Err(Wrong::Problem(problem)) => Err(problem),
    }
}
