//! A file with a run, opened beside the person's own store: in a store of its own that goes away afterwards.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;
use aura_store::{Access, Opened};
use tempfile::TempDir;

use super::lines::Lines;
use super::{import, runtime};

/// What to do about a file that is of no use.
const AGAIN: &str = "export the run again: aura export RUN -o FILE";

/// The run of a file.
pub(crate) struct Aside {
    /// Its store.
    pub(crate) opened: Opened,
    /// The run that the file is about; what it shares stands before it.
    pub(crate) run: RunId,
    /// Where the store lies, until this is dropped.
    pub(crate) dir: TempDir,
}

impl Aside {
    /// Opens a file that `aura export` wrote. Every hash in it is checked.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let failed = |why: &dyn std::fmt::Display| {
            let what = format!("{} can't be opened: {why}", path.display());
            Problem::new(Code::InvalidInput, what).next(AGAIN)
        };
        let file = BufReader::new(File::open(path).map_err(|e| failed(&e))?);
        let mut lines = Lines::new(file);
        // Whoever has a file of one run exports that run again.
        let again = |problem: Problem| match problem.code {
            Code::InvalidInput => problem.next(AGAIN),
            _ => problem,
        };
        let head = lines.head().map_err(again)?;
        let dir = TempDir::with_prefix("aura-").map_err(|e| failed(&e))?;
        aura_store::create(dir.path(), head.salt)?;
        let owned = aura_store::open(dir.path(), Access::Owner)?;
        let runtime = runtime()?;
        let done = import::read(&owned, &runtime, dir.path(), head, &mut lines).map_err(again)?;
        drop(owned);
        let run = done.last.ok_or_else(|| failed(&"there is no run in it"))?;
        let opened = aura_store::open(dir.path(), Access::Reader)?;
        Ok(Self { opened, run, dir })
    }
}
