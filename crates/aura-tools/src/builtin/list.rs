//! `file.list`: what is in a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::Success;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure, limits};
use cap_std::fs::{Dir, DirEntry, FileType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{self, Place};
use crate::typed::{self, About};

const HELP: &str = r#"
Lists a folder below one of the run's folders, sorted by path, at most 10,000 entries. With `recursive: true` also what
is in the folders below it; symbolic links are listed, never followed. With `suffix` only files and links whose name
ends with it are listed.

```json
{"path": "reports", "suffix": ".md", "recursive": true}
```
"#;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The folder; the first of the run's folders if absent.
    #[serde(default)]
    path: Option<String>,
    /// How the names of files must end.
    #[serde(default)]
    suffix: Option<String>,
    /// Whether to enter the folders below.
    #[serde(default)]
    recursive: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// The whole path of the folder.
    path: String,
    /// What is in it.
    entries: Vec<Entry>,
    /// Number of entries.
    count: usize,
    /// Whether there is more than what is listed.
    truncated: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Entry {
    /// The path within the folder.
    path: String,
    /// What it is.
    kind: Kind,
    /// Length of a file; 0 for everything else.
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Something else: a pipe, a socket, a device.
    Other,
}

struct FileList {
    def: ToolDef,
}

#[async_trait]
impl Activity for FileList {
    fn def(&self) -> &ToolDef {
        &self.def
    }

    async fn perform(&self, call: Call) -> Result<Success, Failed> {
        typed::blocking(call.timeout, true, move || {
            let input: Input = typed::parse(call.args)?;
            let place = files::place(&call.permissions, input.path.as_deref().unwrap_or(""))?;
            let output = list(&place, &input)?;
            let truncated = output.truncated;
            Ok(Success { truncated, ..Success::of(typed::output(&output)?) })
        })
        .await
    }
}

pub(super) fn def() -> ToolDef {
    About::new("file.list", EffectClass::Read, "List a folder", HELP).define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(FileList { def: def() })
}

/// Entries that are looked at for each one that may be listed.
const LOOKED_AT: usize = 10;

fn list(place: &Place, input: &Input) -> Result<Output, Failure> {
    let failure = |e: std::io::Error| files::failure(&e, &place.shown);
    if !place.dir.metadata(&place.path).map_err(failure)?.is_dir() {
        let what = format!("{} is not a folder", place.shown);
        return Err(Failure::certain(Code::InvalidInput, what));
    }
    let top = place.dir.open_dir(&place.path).map_err(failure)?;
    let mut walk = Walk {
        suffix: input.suffix.as_deref().unwrap_or(""),
        entries: Vec::new(),
        looked: 0,
        truncated: false,
        open: vec![(PathBuf::new(), 0)],
    };
    while let Some((path, depth)) = walk.open.pop() {
        let entered = walk.enter(&top, &path, depth, input.recursive);
        match entered {
            // A folder below that vanished or may not be read does not spoil the rest.
            Err(_) if depth > 0 => walk.truncated = true,
            other => other.map_err(failure)?,
        }
    }
    walk.entries.sort_by(|a, b| a.path.cmp(&b.path));
    let count = walk.entries.len();
    Ok(Output {
        path: place.shown.clone(),
        entries: walk.entries,
        count,
        truncated: walk.truncated,
    })
}

struct Walk<'a> {
    suffix: &'a str,
    entries: Vec<Entry>,
    looked: usize,
    truncated: bool,
    /// Folders still to be entered, with their depth.
    open: Vec<(PathBuf, usize)>,
}

impl Walk<'_> {
    fn enter(&mut self, top: &Dir, path: &Path, depth: usize, deeper: bool) -> std::io::Result<()> {
        let folder = if depth == 0 { top.entries()? } else { top.read_dir(path)? };
        for entry in folder {
            self.looked += 1;
            let full = self.entries.len() >= limits::FILE_ENTRIES;
            if full || self.looked > limits::FILE_ENTRIES * LOOKED_AT {
                self.truncated = true;
                self.open.clear();
                return Ok(());
            }
            let entry = entry?;
            let kind = kind(entry.file_type()?);
            let path = path.join(entry.file_name());
            if kind == Kind::Folder && deeper {
                if depth < limits::FILE_NESTING {
                    self.open.push((path.clone(), depth + 1));
                } else {
                    self.truncated = true;
                }
            }
            self.add(&entry, kind, &path);
        }
        Ok(())
    }

    fn add(&mut self, entry: &DirEntry, kind: Kind, path: &Path) {
        let path = path.to_string_lossy();
        if !self.suffix.is_empty() && (kind == Kind::Folder || !path.ends_with(self.suffix)) {
            return;
        }
        let bytes = match kind {
            Kind::File => entry.metadata().map_or(0, |metadata| metadata.len()),
            Kind::Folder | Kind::Link | Kind::Other => 0,
        };
        self.entries.push(Entry { path: path.into_owned(), kind, bytes });
    }
}

fn kind(kind: FileType) -> Kind {
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Link
    } else {
        Kind::Other
    }
}
