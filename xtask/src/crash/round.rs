//! One round: a run is killed, resumed, perhaps killed again, settled where in doubt, and looked at from all sides.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::stage::{End, Stage, Subject};
use crate::aura::{Answer, Aura, DONE, PATIENCE, WAITING};
use crate::counter::{Keys, Ledger};
use crate::dice::Dice;

/// Processes that one run may need; more would mean that it does not get on.
const PROCESSES: u32 = 20;

/// Kills of one run, at most.
const KILLS: u64 = 3;

/// What became of one run.
#[derive(Debug, Default)]
pub(super) struct Played {
    name: &'static str,
    /// When the processes were killed, in milliseconds after each start.
    moments: Vec<u128>,
    pub(super) kills: u32,
    pub(super) in_doubt: u32,
    /// Effects that the world knows of and the ledger does not list.
    pub(super) unlisted: usize,
    /// Calls that were sent again with the key of the first time, and did nothing more.
    repeats: u32,
    pub(super) duplicates: u32,
    pub(super) lost: usize,
    /// What is not as it must be.
    pub(super) problems: Vec<String>,
}

impl Played {
    /// A few words about it.
    pub(super) fn told(&self) -> String {
        let moments: Vec<_> = self.moments.iter().map(|ms| format!("{ms} ms")).collect();
        let killed = match moments.as_slice() {
            [] => "not killed".to_owned(),
            moments => format!("killed at {}", moments.join(", ")),
        };
        let some = |count: u32, what: &str| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let (doubt, again) = (some(self.in_doubt, "in doubt"), some(self.repeats, "sent again"));
        format!("{}: {killed}{doubt}{again}", self.name)
    }
}

impl Stage {
    /// Plays every flow once.
    pub(super) fn round(&self, dice: &mut Dice) -> anyhow::Result<Vec<Played>> {
        self.counter.throw(dice.next());
        self.subjects.iter().map(|subject| self.play(subject, dice)).collect()
    }

    fn play(&self, subject: &Subject, dice: &mut Dice) -> anyhow::Result<Played> {
        let aura = self.fresh(subject)?;
        let mut played = Played { name: subject.name, ..Played::default() };
        let answer = self.disturb(&aura, subject, dice, &mut played)?;
        let (end, ledger) = (self.end(&answer)?, self.counter.ledger()?);
        compare(subject, (&end, &ledger), &mut played);
        inspect(&aura, &ledger, &mut played)?;
        if !played.problems.is_empty() {
            let kept = self.keep(subject.name)?;
            played.problems.push(format!("kept in {}", kept.display()));
        }
        Ok(played)
    }

    /// Starts, kills and resumes until the run has completed; gives what was printed then.
    fn disturb(
        &self,
        aura: &Aura,
        subject: &Subject,
        dice: &mut Dice,
        played: &mut Played,
    ) -> anyhow::Result<Answer> {
        let kills = 1 + u32::try_from(dice.below(KILLS))?;
        let mut run = None;
        for process in 0..PROCESSES {
            if process > 0 && run.is_none() {
                run = run_id(aura)?;
            }
            let args = match &run {
                Some(run) => ["resume", run, "--yes", "--json"].map(str::to_owned).to_vec(),
                None => self.run_args(subject),
            };
            let running = aura.start(&args)?;
            let answer = if played.kills < kills {
                // What is left to do gets less, so that later kills come sooner.
                let span = subject.calm.took / (process + 1);
                let moment = Duration::from_micros(dice.below(u64::try_from(span.as_micros())?));
                let answer = running.killed_at(Instant::now() + moment)?;
                if answer.code.is_none() {
                    played.kills += 1;
                    played.moments.push(moment.as_millis());
                }
                answer
            } else {
                running.end(PATIENCE)?
            };
            match answer.code {
                None => {}
                Some(DONE) => return Ok(answer),
                Some(WAITING) => self.settle(aura, played)?,
                Some(_) => bail!("{}", answer.told()),
            }
        }
        bail!("'{}' did not complete in {PROCESSES} processes", subject.name)
    }

    /// Says of each effect in doubt what the world knows of it.
    fn settle(&self, aura: &Aura, played: &mut Played) -> anyhow::Result<()> {
        let ledger = self.counter.ledger()?;
        let listed = aura.call(&["effects", "--in-doubt", "--json"])?.done()?.json()?;
        let entries = listed["effects"].as_array().context("no list of effects")?;
        if entries.is_empty() {
            played.problems.push("the run waits, and no effect is listed as in doubt".to_owned());
        }
        for entry in entries {
            let key = entry["key"].as_str().context("an effect without a key")?;
            played.in_doubt += 1;
            if self.keys == Keys::Honoured {
                played.problems.push(format!("in doubt although it is idempotent: {entry}"));
            }
            let mut args = vec!["effects", "settle", key, "--reason", "the counter was asked"];
            let output = ledger.answers.get(key).map(|answer| output(answer).to_string());
            match &output {
                Some(output) => args.extend(["--succeeded", "--output", output]),
                None => args.push("--retry"),
            }
            aura.call(&args)?.done()?;
        }
        Ok(())
    }
}

/// What `http.request` would have given for an answer of the counter.
fn output(answer: &Value) -> Value {
    let bytes = answer.to_string().len();
    json!({
        "status": 200, "headers": {}, "url": "http://counter.test/", "json": answer,
        "bytes": bytes, "truncated": false,
    })
}

/// The one run of the store, if it got as far as that.
fn run_id(aura: &Aura) -> anyhow::Result<Option<String>> {
    let answer = aura.call(&["runs", "--json"])?;
    if answer.code != Some(DONE) {
        // Killed before there was a store.
        return Ok(None);
    }
    let runs = answer.json()?;
    Ok(runs["runs"][0]["run_id"].as_str().map(str::to_owned))
}

/// Holds what a run left against what it leaves when nobody disturbs it.
fn compare(subject: &Subject, found: (&End, &Ledger), played: &mut Played) {
    let (calm, (end, ledger)) = (&subject.calm, found);
    played.duplicates = ledger.duplicates();
    played.lost = ledger.lacks(&calm.ledger);
    played.repeats = ledger.repeats;
    let strange = calm.ledger.lacks(ledger);
    let mut problem = |text: String| played.problems.push(text);
    for (act, times) in ledger.acts.iter().filter(|(_, times)| **times > 1) {
        problem(format!("happened {times} times: {act}"));
    }
    if played.lost > 0 || strange > 0 {
        let lost = played.lost;
        problem(format!("{lost} effects never happened, {strange} should not have"));
    }
    if end.output != calm.end.output {
        problem(format!("output {} instead of {}", end.output, calm.end.output));
    }
    let names = |end: &End| end.files.keys().cloned().collect::<Vec<_>>();
    if names(end) != names(&calm.end) {
        problem(format!("files {:?} instead of {:?}", names(end), names(&calm.end)));
    }
    for (path, bytes) in &end.files {
        if calm.end.files.get(path).is_some_and(|calm| calm != bytes) {
            problem(format!("{} has another content", path.display()));
        }
    }
}

/// Lets the binary check its own history and store, and holds its ledger against that of the world.
fn inspect(aura: &Aura, ledger: &Ledger, played: &mut Played) -> anyhow::Result<()> {
    let run = run_id(aura)?.context("no run")?;
    for args in [["replay", &run, "--verify"].as_slice(), ["store", "check"].as_slice()] {
        let answer = aura.call(args)?;
        if answer.code != Some(DONE) {
            played.problems.push(answer.told());
        }
    }
    let listed = aura.call(&["effects", &run, "--limit", "100000", "--json"])?.done()?.json()?;
    let entries = listed["effects"].as_array().context("no list of effects")?;
    let keys: BTreeSet<_> = entries.iter().filter_map(|entry| entry["key"].as_str()).collect();
    let unlisted = ledger.answers.keys().filter(|key| !keys.contains(key.as_str())).count();
    if unlisted > 0 {
        played.unlisted = unlisted;
        played.problems.push(format!("{unlisted} effects happened that the ledger does not list"));
    }
    Ok(())
}
