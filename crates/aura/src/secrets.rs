//! Secrets of this process: from the environment, else from a file that only its user can read.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use aura_core::limits;
use aura_core::ports::Secrets;

/// Bytes of a secret.
const MOST: u64 = limits::INLINE_BYTES as u64;

/// `AURA_SECRET_NAME`, else the file `secrets/NAME` of the data directory.
#[derive(Debug)]
pub(crate) struct LocalSecrets {
    folder: PathBuf,
}

impl LocalSecrets {
    /// The secrets of a data directory.
    pub(crate) fn new(data: &std::path::Path) -> Self {
        Self { folder: data.join("secrets") }
    }
}

impl Secrets for LocalSecrets {
    fn get(&self, name: &str) -> Result<Option<String>, String> {
        let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > limits::NAME_BYTES || !name.chars().all(known) {
            return Err(format!(
                "'{name}' is no name of a secret: use letters, digits, '_' and '-'"
            ));
        }
        match std::env::var(format!("AURA_SECRET_{name}")) {
            Ok(value) => return Ok(Some(value)),
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(format!("AURA_SECRET_{name} is not text"));
            }
            Err(std::env::VarError::NotPresent) => {}
        }
        let path = self.folder.join(name);
        let shown = path.display();
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("{shown}: {e}")),
        };
        // Asked of the open file, so that nobody can put another one in its place meanwhile.
        let meta = file.metadata().map_err(|e| format!("{shown}: {e}"))?;
        if !meta.is_file() {
            return Err(format!("{shown} is not a file"));
        }
        if meta.mode() & 0o077 != 0 {
            let mode = meta.mode() & 0o777;
            return Err(format!(
                "{shown} can be read by others (mode {mode:03o}): chmod 600 {shown}"
            ));
        }
        if meta.len() > MOST {
            return Err(format!("{shown} is larger than {MOST} bytes"));
        }
        let text = std::io::read_to_string(file).map_err(|e| format!("{shown}: {e}"))?;
        // Editors end a file with a newline that is no part of the secret.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
    }
}
