//! Deployed flows: versions that stand in the data directory, one file each, and runs start from by name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::time::Millis;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// The folder in the data directory.
const FOLDER: &str = "flows";
/// Versions that are read.
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
    /// When it was deployed.
    pub(crate) at: Millis,
    /// Who deployed it.
    pub(crate) actor: String,
    /// The text of its file.
    pub(crate) source: String,
    /// The texts of the files that it starts as child runs, by their path from its folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) files: BTreeMap<String, String>,
}

/// What became of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It is new.
    New,
    /// The same was deployed before.
    Already,
}

/// Every version, by flow and in the order of deployment.
pub(crate) fn list(dir: &Path) -> Result<Vec<Deployed>, Problem> {
    let folder = dir.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unusable(&folder, &e)),
    };
    let mut found = Vec::new();
    for entry in entries.take(MOST) {
        let path = entry.map_err(|e| unusable(&folder, &e))?.path();
        if path.extension().is_some_and(|end| end == "json") {
            found.push(read(&path)?);
        }
    }
    found.sort_by(|one, other| (&one.flow, one.at).cmp(&(&other.flow, other.at)));
    Ok(found)
}

/// The version of a flow that was deployed last.
pub(crate) fn last(dir: &Path, flow: &str) -> Result<Option<Deployed>, Problem> {
    Ok(list(dir)?.into_iter().rfind(|version| version.flow == flow))
}

/// Deploys a version. One of the same name and number stays what it is.
pub(crate) fn deploy(dir: &Path, version: &Deployed) -> Result<Done, Problem> {
    let path = place(dir, version);
    let folder = dir.join(FOLDER);
    let failed = |e: &std::io::Error| unusable(&folder, e);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| failed(&e))?;
    let mut file = NamedTempFile::new_in(&folder).map_err(|e| failed(&e))?;
    let text = serde_json::to_vec_pretty(version).unwrap_or_default();
    file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(|e| failed(&e))?;
    match file.persist_noclobber(&path) {
        Ok(_) => {
            fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|e| failed(&e))?;
            Ok(Done::New)
        }
        Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {
            let there = read(&path)?;
            if (&there.source, &there.files) == (&version.source, &version.files) {
                return Ok(Done::Already);
            }
            let (flow, number) = (&version.flow, &version.version);
            let what = format!("version {number} of '{flow}' was deployed with another text");
            Err(Problem::new(Code::Conflict, what)
                .kept("the version that was deployed")
                .next("give the flow a new version"))
        }
        Err(e) => Err(failed(&e.error)),
    }
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
    let bytes = fs::read(path).map_err(|e| unusable(path, &e))?;
    let version: Deployed = serde_json::from_slice(&bytes)
        .map_err(|e| unusable(path, &std::io::Error::new(ErrorKind::InvalidData, e)))?;
    if Hash::of(version.source.as_bytes()) != version.hash {
        let why = std::io::Error::new(ErrorKind::InvalidData, "its text is not what was deployed");
        return Err(unusable(path, &why));
    }
    Ok(version)
}

fn unusable(path: &Path, error: &std::io::Error) -> Problem {
    let what = format!("{} can't be used: {error}", path.display());
    Problem::new(Code::StoreUnavailable, what).next("deploy the flow again, or restore the file")
}
