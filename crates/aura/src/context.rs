//! What every command knows: where the data lies, who asks, and where to print.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use aura_core::error::{Code, Problem};
use aura_store::{Access, Opened};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use tracing_subscriber::EnvFilter;

use crate::cli::Global;
use crate::output::{ColorChoice, Output};

/// What every command knows.
#[derive(Debug)]
pub(crate) struct Context {
    /// The data directory, absolute.
    pub(crate) dir: PathBuf,
    /// Where to print.
    pub(crate) out: Output,
    /// Who asks, as it is recorded.
    pub(crate) actor: String,
    /// Whether only what was asked for is printed.
    pub(crate) quiet: bool,
}

impl Context {
    /// Makes sense of the global flags; what goes wrong comes with the place to print it.
    pub(crate) fn new(global: &Global) -> Result<Self, (Output, Problem)> {
        let out = Output::new(global.json, global.color);
        trace(global);
        let dir = match data_dir(global) {
            Ok(dir) => dir,
            Err(problem) => return Err((out, problem)),
        };
        let quiet = global.quiet > 0;
        Ok(Self { dir, out, actor: actor(), quiet })
    }

    /// The global flags, but for the data directory, for a command within this one.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let color = match self.out.choice {
            ColorChoice::Auto => "auto",
            ColorChoice::Always => "always",
            ColorChoice::Never => "never",
        };
        let mut flags = vec!["--color", color];
        flags.extend(self.out.json.then_some("--json"));
        flags.extend(self.quiet.then_some("--quiet"));
        flags
    }

    /// The store, for reading beside whoever owns it.
    pub(crate) fn reader(&self) -> Result<Opened, Problem> {
        // Where it can't be looked whether there is a store, there seems to be none.
        if let Err(error) = self.dir.join("aura.db").try_exists() {
            let what = format!("the data directory {} can't be used: {error}", self.dir.display());
            return Err(Problem::new(Code::StoreUnavailable, what)
                .next("name another: --data-dir DIR or AURA_DATA_DIR"));
        }
        aura_store::open(&self.dir, Access::Reader)
    }
}

fn data_dir(global: &Global) -> Result<PathBuf, Problem> {
    let named = || std::env::var_os("AURA_DATA_DIR").filter(|dir| !dir.is_empty());
    let given = match global.data_dir.clone().or_else(|| named().map(PathBuf::from)) {
        Some(dir) => dir,
        None => {
            choose_native_strategy().map(|base| base.data_dir().join("aura")).map_err(|_| {
                Problem::new(Code::Usage, "this system tells no home folder")
                    .next("name the data directory: --data-dir DIR or AURA_DATA_DIR")
            })?
        }
    };
    std::path::absolute(&given).map_err(|e| {
        let what = format!("the data directory '{}' can't be used: {e}", given.display());
        Problem::new(Code::Usage, what).next("name another: --data-dir DIR")
    })
}

/// Nobody is authenticated here, so that the log tells the user's own word for who it was.
fn actor() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name: String =
        user.unwrap_or_default().chars().filter(|c| !c.is_control()).take(64).collect();
    if !name.is_empty() {
        return format!("local:{name}");
    }
    let id = std::fs::metadata("/proc/self").map(|meta| meta.uid());
    id.map_or_else(|_| "local:unknown".to_owned(), |id| format!("local:uid-{id}"))
}

/// Sends what the engine tells about itself to standard error, where it is asked for.
fn trace(global: &Global) {
    let level = match global.verbose {
        0 => "error",
        1 => "warn",
        2 => "info",
        3 => "debug",
        _ => "trace",
    };
    // A run that is set aside is reported by its command; the trace would only say it twice.
    let level = if global.quiet > 0 || global.verbose == 0 { "off" } else { level };
    let filter = EnvFilter::try_from_env("AURA_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
