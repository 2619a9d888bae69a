//! Runs that came from a backup or an export: what they did since is not in their history, so nobody performs them
//! before a person says so.

use std::collections::BTreeMap;
use std::path::Path;

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::limits;
use aura_core::time::Millis;

use crate::whole;

/// The file beside the store that names them, and when the copy was taken.
pub(crate) const FILE: &str = "restored.json";

/// The runs, and when the copy of each was taken.
pub(crate) fn all(dir: &Path) -> Result<BTreeMap<RunId, Millis>, Problem> {
    match whole::read(&dir.join(FILE), limits::RESTORED_BYTES) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| unusable(dir, &e.to_string())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(unusable(dir, &e.to_string())),
    }
}

/// Keeps runs from being performed.
pub(crate) fn mark(dir: &Path, runs: &[RunId], taken: Millis) -> Result<(), Problem> {
    let mut marked = all(dir)?;
    marked.extend(runs.iter().map(|run| (*run, taken)));
    write(dir, &marked)
}

/// Lets runs be performed.
pub(crate) fn clear(dir: &Path, runs: &[RunId]) -> Result<(), Problem> {
    let mut marked = all(dir)?;
    let before = marked.len();
    marked.retain(|run, _| !runs.contains(run));
    if marked.len() == before { Ok(()) } else { write(dir, &marked) }
}

/// Why a run must not be performed yet, if that is so.
pub(crate) fn refusal(dir: &Path, run: RunId) -> Result<Option<Problem>, Problem> {
    let taken = all(dir)?.get(&run).copied();
    Ok(taken.map(|taken| {
        let when = crate::output::local_time(taken);
        let what = format!("run {run} came from a copy that was taken at {when}");
        Problem::new(Code::RunRestored, what)
            .kept("the run, as it was then; what it did since is not known here")
            .next(format!("aura resume {run}"))
    }))
}

fn write(dir: &Path, marked: &BTreeMap<RunId, Millis>) -> Result<(), Problem> {
    let text = serde_json::to_vec(marked).map_err(|e| unusable(dir, &e.to_string()))?;
    if text.len() > limits::RESTORED_BYTES {
        return Err(unusable(dir, "too many runs have not ended"));
    }
    whole::write(&dir.join(FILE), &text).map_err(|e| unusable(dir, &e.to_string()))
}

fn unusable(dir: &Path, why: &str) -> Problem {
    let what = format!("{} can't be used: {why}", dir.join(FILE).display());
    Problem::new(Code::StoreUnavailable, what)
        .kept("the store itself")
        .next("mend that file, or restore again into a new data directory")
}
