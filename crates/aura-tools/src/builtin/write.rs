//! `file.write`: a file appears whole, or not at all.
//!
//! Written beside its place, synced, then renamed, so that neither a crash nor a reader ever meets half of it. Writing
//! the same bytes to the same path again is the same single effect.

use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::{Artifact, Success};
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure, Hash, limits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{self, Place};
use crate::typed::{self, About};

const HELP: &str = r#"
Writes a file below one of the run's folders, whole or not at all, and lists it as an artifact of the run. A relative
path is looked up in the first folder. Exactly one of `text` and `base64` must be given, at most 16 MiB.

With `if_exists: fail` a file with other content is a `CONFLICT`; one with the same content is left as it is. Symbolic
links are never written through.

```json
{"path": "reports/march.md", "text": "All is well.\n", "create_dirs": true}
```
"#;

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum IfExists {
    /// Replace the file.
    #[default]
    Overwrite,
    /// Fail, unless it has the same content.
    Fail,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The file.
    path: String,
    /// The content as text.
    #[serde(default)]
    text: Option<String>,
    /// The content as base64.
    #[serde(default)]
    base64: Option<String>,
    /// What to do with a file that is there.
    #[serde(default)]
    if_exists: IfExists,
    /// Whether to make the folders above it.
    #[serde(default)]
    create_dirs: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// The whole path.
    path: String,
    /// Length of the content.
    bytes: u64,
    /// SHA-256 of the content.
    sha256: String,
    /// Media type, by the name of the file.
    media_type: String,
}

struct FileWrite {
    def: ToolDef,
}

#[async_trait]
impl Activity for FileWrite {
    fn def(&self) -> &ToolDef {
        &self.def
    }

    async fn perform(&self, call: Call) -> Result<Success, Failed> {
        typed::blocking(call.timeout, false, move || {
            let input: Input = typed::parse(call.args)?;
            let place = files::place(&call.permissions, &input.path)?;
            let temporary = format!(".aura-{}-{}.tmp", call.key.short(), call.attempt);
            Ok(write(&place, &input, &temporary)?)
        })
        .await
    }
}

pub(super) fn def() -> ToolDef {
    About::new("file.write", EffectClass::Idempotent, "Write a file, whole or not at all", HELP)
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(FileWrite { def: def() })
}

fn write(place: &Place, input: &Input, temporary: &str) -> Result<Success, Failure> {
    let bytes = content(input)?;
    let Some(name) = place.path.file_name().map(Path::new) else {
        return Err(Failure::certain(Code::InvalidInput, format!("{} names no file", place.shown)));
    };
    let parent = place.path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let failure = |e: io::Error| files::failure(&e, &place.shown);
    if input.create_dirs {
        make_folders(&place.dir, parent).map_err(failure)?;
    }
    let dir = place.dir.open_dir(parent).map_err(failure)?;
    let target = Target { dir: &dir, name, shown: &place.shown };
    let present = target.present()?;
    let keep = input.if_exists == IfExists::Fail;
    let done = match &present {
        Some(metadata) if keep => target.compare(metadata, &bytes)?,
        _ => false,
    };
    if !done {
        target.prepare(temporary, &bytes, present.as_ref())?;
        target.publish(temporary, &bytes, keep)?;
    }
    let sha256 = Hash::of(&bytes);
    let media_type = files::media_type(name, input.text.is_some()).to_owned();
    let length = bytes.len() as u64;
    let output = typed::output(&Output {
        path: place.shown.clone(),
        bytes: length,
        sha256: sha256.to_string(),
        media_type: media_type.clone(),
    })?;
    let artifact = Artifact { location: place.shown.clone(), media_type, sha256, bytes: length };
    Ok(Success { output, artifacts: vec![artifact], truncated: false })
}

fn content(input: &Input) -> Result<Vec<u8>, Failure> {
    let wrong = |what: String| Failure::certain(Code::InvalidInput, what);
    let bytes = match (&input.text, &input.base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|e| wrong(format!("'base64' is not base64: {e}")))?
        }
        _ => return Err(wrong("give either 'text' or 'base64'".to_owned())),
    };
    if bytes.len() > limits::FILE_BYTES {
        let what = format!("the content is longer than {} bytes", limits::FILE_BYTES);
        return Err(Failure::certain(Code::LimitExceeded, what));
    }
    Ok(bytes)
}

/// Makes the folders of a path, each durable in the one above it before the next is made.
fn make_folders(root: &Dir, path: &Path) -> io::Result<()> {
    let mut made = PathBuf::new();
    for component in path.components() {
        let above = if made.as_os_str().is_empty() { PathBuf::from(".") } else { made.clone() };
        made.push(component);
        if !matches!(component, Component::Normal(_)) {
            continue;
        }
        match root.create_dir(&made) {
            Ok(()) => files::sync(root, &above)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The file to be written, in its folder.
struct Target<'a> {
    dir: &'a Dir,
    name: &'a Path,
    shown: &'a str,
}

impl Target<'_> {
    fn failure(&self, error: &io::Error) -> Failure {
        files::failure(error, self.shown)
    }

    /// What is there, if it is a plain file.
    fn present(&self) -> Result<Option<Metadata>, Failure> {
        match self.dir.symlink_metadata(self.name) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
            Ok(metadata) if metadata.is_symlink() => {
                Err(Failure::certain(Code::Forbidden, format!("{} is a symbolic link", self.shown)))
            }
            Ok(_) => {
                Err(Failure::certain(Code::InvalidInput, format!("{} is not a file", self.shown)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Whether the file that is there has this content already; `CONFLICT` if it has another.
    fn compare(&self, present: &Metadata, bytes: &[u8]) -> Result<bool, Failure> {
        let mut there = Vec::new();
        if present.len() == bytes.len() as u64 {
            let file = self.dir.open(self.name).map_err(|e| self.failure(&e))?;
            let limit = bytes.len() as u64 + 1;
            file.take(limit).read_to_end(&mut there).map_err(|e| self.failure(&e))?;
            if there == bytes {
                return Ok(true);
            }
        }
        let what = format!("{} exists with other content", self.shown);
        Err(Failure::certain(Code::Conflict, what))
    }

    /// Writes the temporary file and syncs it.
    fn prepare(
        &self,
        temporary: &str,
        bytes: &[u8],
        present: Option<&Metadata>,
    ) -> Result<(), Failure> {
        let write = || {
            // What an attempt before a crash left behind; `create_new` then follows no link.
            let _ = self.dir.remove_file(temporary);
            let options = OpenOptions::new().write(true).create_new(true).clone();
            let mut file = self.dir.open_with(temporary, &options)?;
            file.write_all(bytes)?;
            if let Some(present) = present {
                file.set_permissions(present.permissions())?;
            }
            file.sync_all()
        };
        write().map_err(|e| {
            let _ = self.dir.remove_file(temporary);
            self.failure(&e)
        })
    }

    /// Puts the temporary file in its place; from here on an error leaves doubt.
    fn publish(&self, temporary: &str, bytes: &[u8], keep: bool) -> Result<(), Failure> {
        let placed = if keep {
            // Unlike a rename, a link never replaces a file that appeared in the meantime.
            let linked = self.dir.hard_link(temporary, self.dir, self.name);
            let _ = self.dir.remove_file(temporary);
            linked
        } else {
            self.dir.rename(temporary, self.dir, self.name)
        };
        match placed {
            Ok(()) => {}
            Err(error) if keep && error.kind() == io::ErrorKind::AlreadyExists => {
                if let Some(present) = self.present()? {
                    self.compare(&present, bytes)?;
                }
            }
            Err(error) => {
                let _ = self.dir.remove_file(temporary);
                return Err(self.failure(&error));
            }
        }
        files::sync(self.dir, Path::new("."))
            .map_err(|e| Failure { certain: false, ..self.failure(&e) })
    }
}
