//! One run, through as many power cuts as the dice say.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::disk::{Disk, Fate, Sabotage};
use super::judge::{Acknowledged, judge};
use super::log::{self, Note};
use crate::aura::{Answer, Aura, DONE, PATIENCE, Process};
use crate::counter::{Counter, Keys, Ledger};
use crate::dice::Dice;
use crate::process;
use crate::workspace::Workspace;

/// Processes that one run may need; more would mean that it does not get on.
const PROCESSES: u32 = 12;

/// Cuts of one run, at most.
const CUTS: u64 = 4;

/// One kill in this many leaves the power on.
const KILLED: u64 = 4;

/// Other moments of each process at which the power could have gone, looked at beside the one at which it does.
const LOOKS: u64 = 3;

/// Where rounds are played.
#[derive(Debug)]
pub(super) struct Place {
    program: PathBuf,
    shim: PathBuf,
    flow: PathBuf,
    dir: PathBuf,
    counter: Counter,
    calm: Calm,
}

/// A run whose power was not cut.
#[derive(Debug, Default)]
struct Calm {
    output: Value,
    ledger: Ledger,
    took: Duration,
}

/// What became of one run.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub(super) cuts: u32,
    /// Processes that were killed while the power stayed on.
    pub(super) kills: u32,
    /// Disks that were looked at.
    pub(super) looks: u32,
    /// What was acknowledged and looked for, over all disks.
    pub(super) acknowledged: usize,
    /// What is not as it must be.
    pub(super) problems: Vec<String>,
}

impl Place {
    /// Builds what is needed, and lets the flow run once in peace.
    pub(super) fn new(workspace: &Workspace, program: &Path, seed: u64) -> anyhow::Result<Self> {
        let dir = workspace.target.join("powercut");
        empty(&dir)?;
        // The shim compares paths as the program names them, which are without links.
        let dir = dir.canonicalize()?;
        let shim = dir.join("shim.so");
        let mut cc = workspace.program("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]);
        cc.arg(&shim).arg("xtask/powercut/shim.c").arg("-lpthread");
        process::run(&mut cc).context("the shim needs a C compiler named cc")?;
        let flow = workspace.root.join("fixtures/flows/powercut/large.yaml");
        let counter = Counter::start(Keys::Honoured, seed)?;
        let program = program.to_owned();
        let mut place = Self { program, shim, flow, dir, counter, calm: Calm::default() };
        place.calm = place.calm()?;
        Ok(place)
    }

    /// How long a run takes that is left alone.
    pub(super) fn took(&self) -> Duration {
        self.calm.took
    }

    fn calm(&self) -> anyhow::Result<Calm> {
        let aura = self.fresh()?;
        let start = Instant::now();
        let answer = aura.call(&self.run_args())?.done()?;
        let took = start.elapsed();
        Ok(Calm { output: output(&answer)?, ledger: self.counter.ledger()?, took })
    }

    /// What is on the disk; the data directory lies in a folder that the program makes.
    fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    fn aura(&self, disk: &Path) -> Aura {
        Aura::new(&self.program, &disk.join("new/data"), &self.dir)
    }

    fn fresh(&self) -> anyhow::Result<Aura> {
        empty(&self.disk())?;
        self.counter.clear();
        Ok(self.aura(&self.disk()))
    }

    fn run_args(&self) -> Vec<String> {
        let input = json!({ "counter": format!("http://{}", self.counter.address()) });
        let flow = self.flow.to_string_lossy().into_owned();
        let (input, net) = (input.to_string(), self.counter.address());
        ["run", &flow, "--json", "--input", &input, "--allow-net", &net].map(str::to_owned).to_vec()
    }

    /// A command under the shim.
    fn watched<A: AsRef<OsStr>>(&self, aura: &Aura, args: &[A], log: &Path) -> Command {
        let mut command = aura.command();
        command.args(args).env("LD_PRELOAD", &self.shim);
        command.env("POWERCUT_ROOT", self.disk()).env("POWERCUT_LOG", log);
        command
    }

    /// Plays one round.
    pub(super) fn round(
        &self,
        dice: &mut Dice,
        sabotage: Option<Sabotage>,
    ) -> anyhow::Result<Played> {
        let aura = self.fresh()?;
        let mut played = Played::default();
        let mut acknowledged = Acknowledged::default();
        let cuts = 1 + u32::try_from(dice.below(CUTS))?;
        let mut disk = Disk::load(&self.disk(), sabotage)?;
        for number in 0..PROCESSES {
            let end = (number, played.cuts < cuts);
            let (answer, notes) = self.process(&aura, dice, end, &mut acknowledged)?;
            self.look(&disk, &notes, dice, &mut played)?;
            disk.play(&notes)?;
            let killed = answer.code.is_none();
            if killed && dice.below(KILLED) == 0 {
                // Only the process is gone: the next one finds what is not synced, and may rest on it.
                played.kills += 1;
                disk.catch_up()?;
                continue;
            }
            // A process that ended lost its power too, after its last word.
            played.cuts += u32::from(killed);
            acknowledged.keys.extend(self.counter.ledger()?.answers.into_keys());
            acknowledged.completed = answer.code == Some(DONE);
            let mut fate = Fate::any(dice, disk.moments());
            disk.write(&mut fate, &self.disk())?;
            self.judged(&self.disk(), &acknowledged, &mut played, &format!("{fate}"))?;
            disk = Disk::load(&self.disk(), sabotage)?;
            match answer.code {
                _ if !played.problems.is_empty() => return Ok(played),
                None => {}
                Some(DONE) => {
                    self.compare(&answer, &mut played)?;
                    return Ok(played);
                }
                Some(_) => bail!("{}", answer.told()),
            }
        }
        bail!("the run did not complete in {PROCESSES} processes")
    }

    /// One process: starts or resumes the run, and is killed if it shall be.
    fn process(
        &self,
        aura: &Aura,
        dice: &mut Dice,
        (number, cut): (u32, bool),
        acknowledged: &mut Acknowledged,
    ) -> anyhow::Result<(Answer, Vec<Note>)> {
        let (log, second) = (self.dir.join("log"), self.dir.join("log-of-signal"));
        for old in [&log, &second] {
            if old.exists() {
                std::fs::remove_file(old)?;
            }
        }
        let args = match run_id(aura)? {
            Some(run) => ["resume", &run, "--json"].map(str::to_owned).to_vec(),
            None => self.run_args(),
        };
        let mut running = Process::start(&mut self.watched(aura, &args, &log))?;
        if !cut {
            return Ok((running.end(PATIENCE)?, log::read(&log)?));
        }
        // The shim slows a process down, and what is left to do gets less.
        let span = self.calm.took * 2 / (number + 1);
        let moment = Duration::from_micros(dice.below(u64::try_from(span.as_micros())?));
        let signals = dice.below(2) == 0;
        if running.until(Instant::now() + moment)?.is_none() && signals {
            // Its power goes right after somebody was told that a signal is recorded.
            self.signal(aura, &second, acknowledged)?;
        }
        let answer = running.killed_at(Instant::now())?;
        let mut notes = log::read(&log)?;
        // It wrote only if the other had ended before.
        notes.extend(log::read(&second)?);
        Ok((answer, notes))
    }

    fn signal(
        &self,
        aura: &Aura,
        log: &Path,
        acknowledged: &mut Acknowledged,
    ) -> anyhow::Result<()> {
        let Some(run) = run_id(aura)? else { return Ok(()) };
        let id = format!("signal-{}", acknowledged.signals.len());
        let args = ["signal", &run, "note", "--id", &id];
        let answer = Process::start(&mut self.watched(aura, &args, log))?.end(PATIENCE)?;
        if answer.code == Some(DONE) {
            acknowledged.signals.insert(id);
        }
        Ok(())
    }

    /// Looks at disks as they could have been had the power gone earlier.
    fn look(
        &self,
        before: &Disk,
        notes: &[Note],
        dice: &mut Dice,
        played: &mut Played,
    ) -> anyhow::Result<()> {
        let image = self.dir.join("image");
        for _ in 0..LOOKS {
            if !played.problems.is_empty() {
                break;
            }
            let end = usize::try_from(dice.below(notes.len() as u64 + 1))?;
            let mut disk = before.clone();
            disk.play(&notes[..end])?;
            let mut fate = Fate::any(dice, disk.moments());
            disk.write(&mut fate, &image)?;
            let keys = log::keys_said(&notes[..end]).collect();
            let acknowledged = Acknowledged { keys, ..Acknowledged::default() };
            let what = format!("{fate}, {end} of {} operations", notes.len());
            self.judged(&image, &acknowledged, played, &what)?;
        }
        Ok(())
    }

    fn judged(
        &self,
        disk: &Path,
        acknowledged: &Acknowledged,
        played: &mut Played,
        what: &str,
    ) -> anyhow::Result<()> {
        played.looks += 1;
        played.acknowledged += acknowledged.keys.len() + acknowledged.signals.len();
        let found = judge(&self.aura(disk), acknowledged)?;
        if !found.is_empty() {
            played.problems.push(format!("{what}; the disk is {}", disk.display()));
            played.problems.extend(found);
        }
        Ok(())
    }

    /// Holds what a run left against what it leaves when nobody disturbs it.
    fn compare(&self, answer: &Answer, played: &mut Played) -> anyhow::Result<()> {
        let ledger = self.counter.ledger()?;
        let (twice, lost) = (ledger.duplicates(), ledger.lacks(&self.calm.ledger));
        let strange = self.calm.ledger.lacks(&ledger);
        if twice > 0 || lost > 0 || strange > 0 {
            let text = format!("{twice} effects twice, {lost} lost, {strange} that should not be");
            played.problems.push(text);
        }
        if output(answer)? != self.calm.output {
            played.problems.push(format!("another output: {}", answer.told()));
        }
        Ok(())
    }
}

/// The one run of the store, if it got as far as that.
fn run_id(aura: &Aura) -> anyhow::Result<Option<String>> {
    let answer = aura.call(&["runs", "--json"])?;
    if answer.code != Some(DONE) {
        // The store is just being made.
        return Ok(None);
    }
    Ok(answer.json()?["runs"][0]["run_id"].as_str().map(str::to_owned))
}

fn output(answer: &Answer) -> anyhow::Result<Value> {
    let document = answer.json()?;
    if document["status"] != "completed" {
        bail!("the run did not complete: {}", answer.told());
    }
    Ok(document["output"].clone())
}

fn empty(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).with_context(|| format!("can't empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))
}
