//! Runs that came from a backup or an export: what they did since is not in their history, so nobody performs them
//! before a person says so.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_core::time::Millis;

/// The file beside the store that names them, and when the copy was taken.
pub(crate) const FILE: &str = "restored.json";

/// The runs, and when the copy of each was taken.
pub(crate) fn all(dir: &Path) -> Result<BTreeMap<RunId, Millis>, Problem> {
    match std::fs::read(dir.join(FILE)) {
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

/// Written beside its place and renamed, so that it is there as a whole or not at all.
fn write(dir: &Path, marked: &BTreeMap<RunId, Millis>) -> Result<(), Problem> {
    let failed = |e: std::io::Error| unusable(dir, &e.to_string());
    let text = serde_json::to_vec(marked).map_err(|e| failed(e.into()))?;
    let new = dir.join("restored.new");
    let mut file = std::fs::File::create(&new).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, dir.join(FILE)).map_err(failed)?;
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn unusable(dir: &Path, why: &str) -> Problem {
    let what = format!("{} can't be used: {why}", dir.join(FILE).display());
    Problem::new(Code::StoreUnavailable, what)
        .kept("the store itself")
        .next("mend that file, or restore again into a new data directory")
}
