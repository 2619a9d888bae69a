//! Deployed flows: versions that stand in the data directory, one file each, and runs start from by name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::time::Millis;
use serde::{Deserialize, Serialize};

use crate::whole::{self, WholeFile};

/// The folder in the data directory.
const FOLDER: &str = "flows";
/// Versions that a data directory holds.
const MOST: usize = 10_000;

/// A version of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deployed {
    /// The flow.
    pub(crate) flow: String,
    /// Its version.
    pub(crate) version: String,
    /// SHA-256 of the bytes of its file.
    pub(crate) hash: Hash,
    /// When it was first deployed.
    pub(crate) at: Millis,
    /// Who first deployed it.
    pub(crate) actor: String,
    /// Its place in the order in which versions of the flow came into force, from 1; 0 of one from before there was
    /// such an order, when the time alone said it.
    #[serde(default)]
    pub(crate) order: u64,
    /// Who put it in force again, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) again: Option<Again>,
    /// The text of its file.
    pub(crate) source: String,
    /// The texts of the files that it starts as child runs, by their path from its folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) files: BTreeMap<String, String>,
    /// `parts` of their paths and texts; absent where there are none, and in what was deployed before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files_hash: Option<Hash>,
}

/// What is kept of the texts of files, to see that they are what was deployed.
pub(crate) fn files_hash(files: &BTreeMap<String, String>) -> Option<Hash> {
    let parts: Vec<&[u8]> =
        files.iter().flat_map(|(path, text)| [path.as_bytes(), text.as_bytes()]).collect();
    (!parts.is_empty()).then(|| Hash::of_parts(&parts))
}

/// A version was put in force again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Again {
    /// When.
    pub(crate) at: Millis,
    /// Who did.
    pub(crate) actor: String,
}

/// What became of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is new.
    New,
    /// The same is in force.
    Already,
    /// The same was deployed before, and another was in force since.
    Again,
}

/// Every version, by flow and in the order in which they came into force.
pub(crate) fn list(dir: &Path) -> Result<Vec<Deployed>, Problem> {
    let folder = dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unusable(&folder, &e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| unusable(&folder, &e))?.path();
        if path.extension().is_some_and(|end| end == "json") {
            if found.len() == MOST {
                return Err(too_many(&folder));
            }
            found.push(read(&path)?);
        }
    }
    found.sort_by(|one, other| place_of(one).cmp(&place_of(other)));
    Ok(found)
}

fn place_of(version: &Deployed) -> (&str, u64, Millis) {
    (&version.flow, version.order, version.at)
}

/// The version of a flow that is in force.
pub(crate) fn last(dir: &Path, flow: &str) -> Result<Option<Deployed>, Problem> {
    Ok(list(dir)?.into_iter().rfind(|version| version.flow == flow))
}

/// Deploys a version, so that it is the one in force. One of the same name and number stays what it is.
pub(crate) fn deploy(dir: &Path, version: &Deployed) -> Result<Done, Problem> {
    let all = list(dir)?;
    let of_flow = || all.iter().filter(|other| other.flow == version.flow);
    let last = of_flow().next_back();
    let order = last.map_or(0, |last| last.order) + 1;
    match of_flow().find(|other| other.version == version.version) {
        None if all.len() == MOST => Err(too_many(&dir.join(FOLDER))),
        None => write(dir, &Deployed { order, ..version.clone() }, true).map(|()| Done::New),
        Some(there) if (&there.source, &there.files) != (&version.source, &version.files) => {
            Err(another_text(version))
        }
        Some(there) if last == Some(there) => Ok(Done::Already),
        Some(there) => {
            let again = Some(Again { at: version.at, actor: version.actor.clone() });
            write(dir, &Deployed { order, again, ..there.clone() }, false).map(|()| Done::Again)
        }
    }
}

fn another_text(version: &Deployed) -> Problem {
    let (flow, number) = (&version.flow, &version.version);
    Problem::new(
        Code::Conflict,
        format!("version {number} of '{flow}' was deployed with another text"),
    )
    .kept("the version that was deployed")
    .next("give the flow a new version")
}

/// Writes a version whole, or not at all; a new one never over another.
fn write(dir: &Path, version: &Deployed, new: bool) -> Result<(), Problem> {
    let path = place(dir, version);
    let folder = dir.join(FOLDER);
    let failed = |e: &std::io::Error| unusable(&folder, e);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| failed(&e))?;
    let text = serde_json::to_vec_pretty(version).map_err(|e| failed(&e.into()))?;
    if text.len() > limits::DEPLOYED_BYTES {
        let what = format!("the flow and its files have {} bytes as JSON", text.len());
        return Err(Problem::new(Code::LimitExceeded, what)
            .kept("what was deployed before")
            .next(format!("keep them below {} bytes", limits::DEPLOYED_BYTES)));
    }
    let mut file = WholeFile::create(&path).map_err(|e| failed(&e))?;
    file.write_all(&text).map_err(|e| failed(&e))?;
    if !new {
        return file.finish().map_err(|e| failed(&e));
    }
    if file.finish_new().map_err(|e| failed(&e))? {
        return Ok(());
    }
    // Somebody deployed it at the same moment.
    let there = read(&path)?;
    let same = (&there.source, &there.files) == (&version.source, &version.files);
    if same { Ok(()) } else { Err(another_text(version)) }
}

/// Copies every version to another data directory.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Problem> {
    list(from)?.iter().try_for_each(|version| deploy(to, version).map(|_| ()))
}

fn place(dir: &Path, version: &Deployed) -> PathBuf {
    // Names and versions are anybody's texts, and not names of files.
    let name = Hash::of_parts(&[version.flow.as_bytes(), version.version.as_bytes()]);
    dir.join(FOLDER).join(format!("{}.json", name.short()))
}

fn read(path: &Path) -> Result<Deployed, Problem> {
    let bytes = whole::read(path, limits::DEPLOYED_BYTES).map_err(|e| unusable(path, &e))?;
    let version: Deployed = serde_json::from_slice(&bytes)
        .map_err(|e| unusable(path, &std::io::Error::new(ErrorKind::InvalidData, e)))?;
    let source = Hash::of(version.source.as_bytes()) == version.hash;
    let files = version.files_hash.is_none() || version.files_hash == files_hash(&version.files);
    if !source || !files {
        let why = std::io::Error::new(ErrorKind::InvalidData, "its text is not what was deployed");
        return Err(unusable(path, &why));
    }
    Ok(version)
}

fn too_many(folder: &Path) -> Problem {
    let what = format!("{} holds {MOST} versions of flows, which is the most", folder.display());
    Problem::new(Code::LimitExceeded, what)
        .next("remove the files of versions that nobody starts any more")
}

fn unusable(path: &Path, error: &std::io::Error) -> Problem {
    let what = format!("{} can't be used: {error}", path.display());
    Problem::new(Code::StoreUnavailable, what).next("deploy the flow again, or restore the file")
}
