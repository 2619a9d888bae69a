//! What must be so after a cut: everything that was acknowledged is there, and the store is whole.

use std::collections::BTreeSet;

use anyhow::Context as _;

use crate::aura::{Answer, Aura, DONE};

/// What somebody outside knows that the program has said.
#[derive(Debug, Clone, Default)]
pub(super) struct Acknowledged {
    /// Keys of requests that were sent: their intents were durable before.
    pub(super) keys: BTreeSet<String>,
    /// Signals that were taken.
    pub(super) signals: BTreeSet<String>,
    /// Whether the run was said to have completed.
    pub(super) completed: bool,
}

/// What is not as it must be; nothing if all is well.
pub(super) fn judge(aura: &Aura, acknowledged: &Acknowledged) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let listed = aura.call(&["runs", "--json"])?;
    if let Err(problem) = whole(&listed) {
        return Ok(vec![problem]);
    }
    let runs = listed.json()?;
    let runs = runs["runs"].as_array().context("no list of runs")?;
    let Some(run) = runs.first() else {
        if !acknowledged.keys.is_empty() || acknowledged.completed {
            problems.push("the run is not there, although it had acted".to_owned());
        }
        return Ok(problems);
    };
    let id = run["run_id"].as_str().context("a run without an id")?;
    for args in [["store", "check"].as_slice(), &["replay", id, "--verify"]] {
        problems.extend(whole(&aura.call(args)?).err());
    }
    if acknowledged.completed && run["status"] != "completed" {
        problems.push(format!("the run was said to have completed, and is {}", run["status"]));
    }
    let missing = |what: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>| {
        let missing: Vec<_> = wanted.difference(found).cloned().collect();
        let (count, of, list) = (missing.len(), wanted.len(), missing.join(", "));
        (count > 0).then(|| format!("{count} of {of} acknowledged {what} are not there: {list}"))
    };
    if !acknowledged.keys.is_empty() {
        let found = effects(aura)?;
        problems.extend(
            found
                .and_then(|found| {
                    missing("effects", &acknowledged.keys, &found).map_or(Ok(()), Err)
                })
                .err(),
        );
    }
    if !acknowledged.signals.is_empty() {
        let answer = aura.call(&["events", id, "--type", "signal.received", "--json"])?;
        let found = answer.out.lines().filter_map(signal).collect();
        problems.extend(missing("signals", &acknowledged.signals, &found));
    }
    Ok(problems)
}

fn whole(answer: &Answer) -> Result<(), String> {
    if answer.code == Some(DONE) { Ok(()) } else { Err(answer.told()) }
}

/// Keys of all effects in the ledger.
fn effects(aura: &Aura) -> anyhow::Result<Result<BTreeSet<String>, String>> {
    let answer = aura.call(&["effects", "--limit", "100000", "--json"])?;
    if let Err(problem) = whole(&answer) {
        return Ok(Err(problem));
    }
    let document = answer.json()?;
    let entries = document["effects"].as_array().context("no list of effects")?;
    Ok(Ok(entries.iter().filter_map(|entry| entry["key"].as_str().map(str::to_owned)).collect()))
}

/// The id of a signal, from the line of its event.
fn signal(line: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    event["data"]["id"].as_str().map(str::to_owned)
}
