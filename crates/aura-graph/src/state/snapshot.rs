//! Snapshots: the whole state of a run at one event, as bytes, so that a run is opened without reading all of its
//! events.
//!
//! The bytes are the JSON text of a [`Form`]. A snapshot is a convenience, never the truth: one of another version,
//! or one that fails its checks, is thrown away and the run is folded from its events.

use aura_core::canonical;
use aura_core::hash::Hash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::tree::{self, Done, Node, Place};
use super::{Phase, Run};

/// Version of the state in snapshots. A change in what a field means needs a new one; added fields do not.
pub const SNAPSHOT_VERSION: u32 = 3;

/// What a snapshot holds.
#[derive(Serialize, Deserialize)]
struct Form<R> {
    version: u32,
    /// Hash of the commit after which it was taken.
    head: Hash,
    /// SHA-256 of the canonical form of what a flow can see.
    visible: Hash,
    /// The state; it has the number of its events and its state hash.
    run: R,
}

/// The part of a form that is looked at before the rest.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Bytes that are not a snapshot which this build can go on from.
#[derive(Debug, thiserror::Error)]
pub enum NotASnapshot {
    /// Another build wrote it.
    #[error("it has version {0}")]
    Version(u32),
    /// They can't be read.
    #[error("it can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// What a flow can see of the state is not what was written.
    #[error("its state is not the one that was written")]
    Differs,
}

/// The snapshot of a run after the commit with hash `head`.
///
/// # Errors
/// Never for a state that was folded.
pub fn to_snapshot(run: &Run, head: Hash) -> Result<Vec<u8>, NotASnapshot> {
    let form = Form { version: SNAPSHOT_VERSION, head, visible: visible(run), run };
    Ok(serde_json::to_vec(&form)?)
}

/// The run of a snapshot, and the hash of the commit after which it was taken.
///
/// # Errors
/// It is one of another version, or damaged.
pub fn from_snapshot(bytes: &[u8]) -> Result<(Run, Hash), NotASnapshot> {
    let Version { version } = serde_json::from_slice(bytes)?;
    if version != SNAPSHOT_VERSION {
        return Err(NotASnapshot::Version(version));
    }
    let Form { head, visible: told, run, .. } = serde_json::from_slice::<Form<Run>>(bytes)?;
    if visible(&run) != told {
        return Err(NotASnapshot::Differs);
    }
    Ok((run, head))
}

/// SHA-256 of the canonical form of what a flow can see: the input, the variables, and status, output and error of
/// each step in a body in work and of each body that ended in a step in work; with the state hash, which covers how
/// it came to be.
pub fn visible(run: &Run) -> Hash {
    let mut steps = Map::new();
    tree::places(&run.root, &mut |path, place| {
        let entry = match place {
            Place::Step(Node { status, output, error, .. }) => {
                json!({ "status": status.as_str(), "output": output, "error": error })
            }
            Place::Ended(Done::Completed(output)) => {
                json!({ "status": "completed", "output": output })
            }
            Place::Ended(Done::Failed(error)) => json!({ "status": "failed", "error": error }),
        };
        steps.insert(path.as_str().to_owned(), entry);
    });
    let vars: Map<String, Value> =
        run.vars.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let end = match &run.phase {
        Phase::Completed(output) => json!({ "output": output }),
        Phase::Failed(error, _) => json!({ "error": error }),
        _ => Value::Null,
    };
    let form = json!({
        "state": run.hash,
        "input": run.started.as_ref().map(|started| &started.input),
        "vars": vars,
        "steps": steps,
        "status": run.status(),
        "end": end,
    });
    Hash::of(&canonical::to_vec(&form))
}
