//! What differs between two JSON values, in lines: `+` is new, `-` is gone, `~` is another.

use aura_core::time::Millis;
use aura_graph::compare::values::{Change, changes};
use serde_json::{Value, json};

use crate::describe;
use crate::output::{Output, Tone, local_time, plain};

/// Changes that are shown.
const SHOWN: usize = 50;
/// Characters of one value.
const VALUE: usize = 100;

/// The changes from one value to another, one a line.
pub(crate) fn lines(out: &Output, old: &Value, new: &Value) -> Vec<String> {
    let (found, all) = changes(old, new, SHOWN);
    let mut lines: Vec<_> = found.iter().map(|change| line(out, change)).collect();
    if all > found.len() {
        let more = describe::count((all - found.len()) as u64, "more change");
        lines.push(out.paint(Tone::Faint, format_args!("… {more}: --json lists all")));
    }
    lines
}

fn line(out: &Output, change: &Change) -> String {
    let path = match change.path.as_str() {
        "" => "(all of it)".to_owned(),
        path => plain(path),
    };
    let text = |value: &Value| match value.as_i64() {
        Some(at) if path.starts_with("open.timers[") => local_time(Millis(at)),
        _ => describe::value_of(value, VALUE),
    };
    match (&change.old, &change.new) {
        (None, Some(new)) => format!("{} {path}: {}", out.paint(Tone::Good, "+"), text(new)),
        (Some(old), None) => format!("{} {path}: {}", out.paint(Tone::Bad, "-"), text(old)),
        (old, new) => {
            let [old, new] = [old, new].map(|value| value.as_ref().map(text).unwrap_or_default());
            format!("{} {path}: {old} → {new}", out.paint(Tone::Warn, "~"))
        }
    }
}

/// The changes for programs: path, and the value before and after, where there is one.
pub(crate) fn document(old: &Value, new: &Value) -> Value {
    let (found, _) = changes(old, new, usize::MAX);
    let entry = |change: Change| {
        let mut entry = json!({ "path": change.path });
        if let Some(old) = change.old {
            entry["old"] = old;
        }
        if let Some(new) = change.new {
            entry["new"] = new;
        }
        entry
    };
    found.into_iter().map(entry).collect()
}
