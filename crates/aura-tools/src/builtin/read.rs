//! `file.read`: the content of a file.

use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::Success;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure, Hash, limits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::files::{self, Place};
use crate::typed::{self, About};

const HELP: &str = r#"
Reads a file below one of the run's folders, up to 16 MiB; what is longer is cut and `truncated` is set. A relative path
is looked up in the first folder. Paths and links that lead out of the folders are `FORBIDDEN`.

```json
{"path": "reports/march.md"}
```
"#;

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    /// UTF-8 text; other files are `INVALID_INPUT`.
    #[default]
    Text,
    /// Base64, for any file.
    Base64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The file.
    path: String,
    /// How the content is given back.
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// The whole path.
    path: String,
    /// The content, with `encoding: text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The content, with `encoding: base64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Bytes of the content that is given back.
    bytes: u64,
    /// SHA-256 of the content that is given back.
    sha256: String,
    /// Media type, by the name of the file.
    media_type: String,
    /// Whether the file is longer than what is given back.
    truncated: bool,
}

struct FileRead {
    def: ToolDef,
}

#[async_trait]
impl Activity for FileRead {
    fn def(&self) -> &ToolDef {
        &self.def
    }

    async fn perform(&self, call: Call) -> Result<Success, Failed> {
        typed::blocking(call.timeout, true, move || {
            let input: Input = typed::parse(call.args)?;
            let place = files::place(&call.permissions, &input.path)?;
            let output = read(&place, input.encoding)?;
            let truncated = output.truncated;
            Ok(Success { truncated, ..Success::of(typed::output(&output)?) })
        })
        .await
    }
}

pub(super) fn def() -> ToolDef {
    About::new("file.read", EffectClass::Read, "Read a file", HELP).define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(FileRead { def: def() })
}

fn read(place: &Place, encoding: Encoding) -> Result<Output, Failure> {
    // Base64 makes four bytes of three, and the limit holds for what is given back.
    let limit = match encoding {
        Encoding::Text => limits::FILE_BYTES,
        Encoding::Base64 => limits::FILE_BYTES / 4 * 3,
    };
    let (mut bytes, truncated) = content(place, limit)?;
    let (mut text, mut base64) = (None, None);
    if encoding == Encoding::Base64 {
        base64 = Some(STANDARD.encode(&bytes));
    } else {
        if truncated {
            bytes.truncate(whole_characters(&bytes));
        }
        let valid = std::str::from_utf8(&bytes).map_err(|_| {
            let what = format!("{} is not UTF-8 text; read it with encoding: base64", place.shown);
            Failure::certain(Code::InvalidInput, what)
        })?;
        text = Some(valid.to_owned());
    }
    let media_type = files::media_type(&place.path, text.is_some()).to_owned();
    Ok(Output {
        path: place.shown.clone(),
        text,
        base64,
        bytes: bytes.len() as u64,
        sha256: Hash::of(&bytes).to_string(),
        media_type,
        truncated,
    })
}

/// The first `limit` bytes of a file, and whether there are more.
pub(super) fn content(place: &Place, limit: usize) -> Result<(Vec<u8>, bool), Failure> {
    let failure = |e: std::io::Error| files::failure(&e, &place.shown);
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !place.dir.metadata(&place.path).map_err(failure)?.is_file() {
        return Err(Failure::certain(Code::InvalidInput, format!("{} is not a file", place.shown)));
    }
    let file = place.dir.open(&place.path).map_err(failure)?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failure)?;
    let truncated = bytes.len() > limit;
    bytes.truncate(limit);
    Ok((bytes, truncated))
}

/// The length of `bytes` without a character that was cut in two at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}
