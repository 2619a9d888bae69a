//! Data directories that are made of something else: there as a whole or not at all.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::whole::sync_folder;

/// What may be in one, in the order in which it is put in its place: what makes it a store, or a backup, comes last.
const NAMES: [&str; 6] =
    ["blobs", "flows", "restored.json", "aura.db-wal", "aura.db", "backup.json"];

/// A data directory in the making; it goes away unless it is finished.
pub(crate) struct Making {
    dir: TempDir,
    place: PathBuf,
    /// Whether its place is a folder that was there before, and that may be a file system of its own.
    inside: bool,
}

impl Making {
    /// Begins one that is to be at `place`.
    pub(crate) fn begin(place: &Path) -> io::Result<Self> {
        let place = std::path::absolute(place)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".aura-");
        match fs::metadata(&place) {
            Ok(there) if there.is_dir() => {
                if let Some(name) = NAMES.into_iter().find(|name| place.join(name).exists()) {
                    let why = format!("'{name}' is there already");
                    return Err(io::Error::new(ErrorKind::AlreadyExists, why));
                }
                Ok(Self { dir: builder.tempdir_in(&place)?, place, inside: true })
            }
            Ok(_) => Err(io::Error::new(ErrorKind::NotADirectory, "it is not a folder")),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let parent = place.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(parent)?;
                Ok(Self { dir: builder.tempdir_in(parent)?, place, inside: false })
            }
            Err(e) => Err(e),
        }
    }

    /// Where it lies meanwhile.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Puts it in its place, durably. Nobody may have it open.
    pub(crate) fn finish(self) -> io::Result<()> {
        // What the last handle leaves; it has no owner.
        match fs::remove_file(self.dir.path().join("aura.lock")) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        sync_folder(self.dir.path())?;
        if self.inside {
            for name in NAMES {
                let from = self.dir.path().join(name);
                if from.exists() {
                    fs::rename(from, self.place.join(name))?;
                    sync_folder(&self.place)?;
                }
            }
            return Ok(());
        }
        fs::rename(self.dir.path(), &self.place)?;
        // It has another name by now, so that there is nothing to remove.
        let _ = self.dir.keep();
        sync_folder(self.place.parent().unwrap_or(Path::new("/")))
    }
}
