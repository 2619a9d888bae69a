//! The built `aura`, driven from outside as a person or a script would.
//!
//! Every process is bounded in time and none outlives its handle.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;

/// How long a command may take that has little to do.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How often a process is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(1);

/// Exit codes of `aura` that are answers.
pub(crate) const DONE: i32 = 0;
pub(crate) const FAILED: i32 = 1;
pub(crate) const WAITING: i32 = 3;

/// The binary, and the data directory that it works on.
#[derive(Debug, Clone)]
pub(crate) struct Aura {
    program: PathBuf,
    data: PathBuf,
    dir: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit code; `None` if it was killed.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) out: String,
    /// What it said about it.
    pub(crate) err: String,
    line: String,
}

impl Aura {
    /// Builds the release binary.
    pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let mut cargo = workspace.cargo();
        process::run(cargo.args(["build", "--release", "--locked", "--package", "aura"]))?;
        Ok(workspace.target.join("release").join("aura"))
    }

    /// The binary that was named, or else the release binary, built.
    pub(crate) fn program(
        workspace: &Workspace,
        named: Option<PathBuf>,
    ) -> anyhow::Result<PathBuf> {
        match named {
            Some(named) => std::path::absolute(&named).context("no working directory"),
            None => Self::build(workspace),
        }
    }

    /// A binary on a data directory, started in a folder.
    pub(crate) fn new(program: &Path, data: &Path, dir: &Path) -> Self {
        Self { program: program.to_owned(), data: data.to_owned(), dir: dir.to_owned() }
    }

    /// A command that has the data directory, and nothing from the person's own settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = process::command(self.program.as_os_str(), &self.dir);
        command.arg("--data-dir").arg(&self.data).env_remove("AURA_LOG");
        command
    }

    /// Starts a command.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, args: &[A]) -> anyhow::Result<Process> {
        Process::start(self.command().args(args))
    }

    /// Runs a command to its end.
    pub(crate) fn call<A: AsRef<OsStr>>(&self, args: &[A]) -> anyhow::Result<Answer> {
        self.start(args)?.end(PATIENCE)
    }
}

impl Answer {
    /// Fails unless the exit code is 0.
    pub(crate) fn done(self) -> anyhow::Result<Self> {
        if self.code != Some(DONE) {
            bail!("{}", self.told());
        }
        Ok(self)
    }

    /// What it printed, as one JSON document.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("no JSON from {}", self.told()))
    }

    /// All there is to say about it.
    pub(crate) fn told(&self) -> String {
        let end = self.code.map_or_else(|| "killed".to_owned(), |code| format!("exit code {code}"));
        let (out, err) = (self.out.trim(), self.err.trim());
        format!("`{}`: {end}\n{out}\n{err}", self.line)
    }
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    out: Option<JoinHandle<String>>,
    err: Option<JoinHandle<String>>,
    line: String,
}

impl Process {
    /// Starts it, with nobody at the keyboard.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let line = process::line(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("can't start `{line}`"))?;
        let out = child.stdout.take().map(drain);
        let err = child.stderr.take().map(drain);
        Ok(Self { child, out, err, line })
    }

    /// Waits for its end, at most until `moment`.
    pub(crate) fn until(&mut self, moment: Instant) -> anyhow::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Kills it with SIGKILL at `moment`, unless it has ended by then.
    pub(crate) fn killed_at(mut self, moment: Instant) -> anyhow::Result<Answer> {
        if self.until(moment)?.is_none() {
            self.kill()?;
        }
        self.end(PATIENCE)
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().with_context(|| format!("can't kill `{}`", self.line))
    }

    /// Waits for its end; a process that takes longer than `patience` is an error.
    pub(crate) fn end(mut self, patience: Duration) -> anyhow::Result<Answer> {
        let Some(status) = self.until(Instant::now() + patience)? else {
            self.kill()?;
            let answer = self.end(PATIENCE)?;
            bail!("it did not end within {patience:?} and was killed: {}", answer.told());
        };
        let text = |drain: Option<JoinHandle<String>>| {
            drain.and_then(|drain| drain.join().ok()).unwrap_or_default()
        };
        let (out, err) = (text(self.out.take()), text(self.err.take()));
        Ok(Answer { code: status.code(), out, err, line: std::mem::take(&mut self.line) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads all that comes, so that the process never waits for a reader.
fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until the pipe broke is still what was printed.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = process::command(OsStr::new("sh"), Path::new("."));
        Process::start(command.args(["-c", script])).unwrap()
    }

    #[test]
    fn what_it_prints_and_how_it_ends_is_told() {
        let answer = shell("echo '{\"a\":1}'; echo no >&2; exit 3").end(PATIENCE).unwrap();
        assert_eq!((answer.code, answer.json().unwrap()["a"].as_u64()), (Some(WAITING), Some(1)));
        assert!(answer.done().unwrap_err().to_string().contains("exit code 3"));
    }

    #[test]
    fn a_killed_process_has_no_exit_code() {
        let answer = shell("exec sleep 60").killed_at(Instant::now()).unwrap();
        assert_eq!(answer.code, None);
    }

    #[test]
    fn a_process_that_hangs_is_killed_and_named() {
        let error = shell("exec sleep 60").end(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("did not end within") && error.contains("sleep 60"), "{error}");
    }
}
