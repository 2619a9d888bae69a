//! Peers' scripts in the same hour: a folder with `run-peers`, which appends one JSON object a line to `$RESULTS`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;

/// What a peer was measured at; a figure that it has not is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: String,
    /// W1 at one run: a step's share of the median run, in milliseconds.
    pub(crate) step_ms: Option<f64>,
    /// W1 steps a second, by runs at once.
    pub(crate) steps_per_s: BTreeMap<u64, f64>,
    /// W1 at 256 runs: processor time of a step in microseconds, of all its processes.
    pub(crate) cpu_us: Option<f64>,
    /// W2 in milliseconds.
    pub(crate) wide_ms: Option<f64>,
    /// W3 in seconds.
    pub(crate) long_s: Option<f64>,
    /// W4: KiB of memory of a sleeper, of all its processes.
    pub(crate) sleeper_kib: Option<f64>,
}

/// Runs the scripts of a folder and reads what they measured.
pub(crate) fn measure(
    workspace: &Workspace,
    folder: &Path,
    variants: &[String],
) -> anyhow::Result<Vec<Peer>> {
    let folder = std::path::absolute(folder)?;
    let script = folder.join("run-peers");
    if !script.is_file() {
        bail!("{} has no script run-peers", folder.display());
    }
    let results = workspace.target.join("peers.jsonl");
    let mut command = process::command(script.as_os_str(), &folder);
    command.args(variants).env("RESULTS", &results);
    process::run(&mut command)?;
    let text = fs::read_to_string(&results)
        .with_context(|| format!("{} wrote no results", script.display()))?;
    Ok(read(&text))
}

/// Medians over the repetitions, in the order in which the peers first appear.
fn read(text: &str) -> Vec<Peer> {
    let rows: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut names: Vec<&str> = Vec::new();
    for row in &rows {
        let name = row["peer"].as_str().unwrap_or_default();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| peer(name, &rows)).collect()
}

fn peer(name: &str, rows: &[Value]) -> Peer {
    let of = |metric: &str, figure: &dyn Fn(&Value) -> Option<f64>| {
        let rows = rows.iter().filter(|row| row["peer"] == name && row["metric"] == metric);
        median(rows.filter_map(figure).collect())
    };
    let at = |runs: u64, figure: &dyn Fn(&Value) -> Option<f64>| {
        of("w1_tput", &|row| figure(row).filter(|_| row["conc"].as_u64() == Some(runs)))
    };
    let levels = [1, 16, 64, 256, 1_024];
    let steps = |runs| Some((runs, at(runs, &|row| row["steps_per_s"].as_f64())?));
    Peer {
        name: name.to_owned(),
        step_ms: of("w1_latency", &|row| row["p50_ms"].as_f64().map(|run| run / 10.0)),
        steps_per_s: levels.into_iter().filter_map(steps).collect(),
        cpu_us: at(256, &|row| sum(&row["cpu_us_per_step"])),
        wide_ms: of("w2", &|row| row["p50_ms"].as_f64()),
        long_s: of("w3", &|row| row["total_s"].as_f64()),
        sleeper_kib: of("w4", &|row| {
            let worker = row["worker_kib_each"].as_f64()?;
            Some(worker + row["server_kib_each"].as_f64().unwrap_or_default())
        }),
    }
}

fn sum(parts: &Value) -> Option<f64> {
    Some(parts.as_object()?.values().filter_map(Value::as_f64).sum())
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_what_was_measured_are_read() {
        let text = r#"{"peer":"a","metric":"w1_latency","p50_ms":12.0}
{"peer":"a","metric":"w1_latency","p50_ms":10.0}
{"peer":"a","metric":"w1_latency","p50_ms":11.0}
{"peer":"b","metric":"w1_tput","conc":256,"steps_per_s":900.0,"cpu_us_per_step":{"app":1.5,"db":2.0}}
{"peer":"b","metric":"w4","worker_kib_each":8.0,"server_kib_each":19.0}
not a row
{"peer":"b","metric":"w2","error":"no"}"#;
        let found = read(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].step_ms, found[0].cpu_us), (Some(1.1), None));
        assert_eq!(found[1].steps_per_s, BTreeMap::from([(256, 900.0)]));
        assert_eq!((found[1].cpu_us, found[1].sleeper_kib), (Some(3.5), Some(27.0)));
        assert_eq!(found[1].wide_ms, None);
    }
}
