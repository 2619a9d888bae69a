//! Calls under way: what tools have been asked for, what they have done, and what they have not told yet.

use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::task::Task;
use aura_core::time::Millis;

/// A call under way.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) task: Task,
    /// Whether it has had its effect outside.
    pub(super) acted: bool,
    /// Until when it neither acts nor tells.
    pub(super) hangs: Option<Millis>,
    /// Whether its engine has said that nobody waits for it any more.
    pub(super) abandoned: bool,
}

/// All calls under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    /// Handed over and not looked at yet.
    pub(super) fresh: Vec<Task>,
    pub(super) open: Vec<Call>,
    /// Calls that were answered and are going to be answered once more.
    pub(super) echoes: Vec<Task>,
}

impl Calls {
    /// Calls that can act now.
    pub(super) fn unacted(&self, now: Millis) -> Vec<usize> {
        self.places(|call| !call.acted && call.awake(now))
    }

    /// Calls that can tell now how they ended.
    pub(super) fn telling(&self, now: Millis) -> Vec<usize> {
        self.places(|call| call.acted && call.awake(now) || call.abandoned)
    }

    fn places(&self, which: impl Fn(&Call) -> bool) -> Vec<usize> {
        self.open.iter().enumerate().filter(|(_, call)| which(call)).map(|(i, _)| i).collect()
    }

    pub(super) fn mark_acted(&mut self, index: usize) -> Task {
        let call = &mut self.open[index];
        call.acted = true;
        call.task.clone()
    }

    /// When the first call that hangs comes to itself.
    pub(super) fn wakes(&self, now: Millis) -> Option<Millis> {
        self.open.iter().filter_map(|call| call.hangs).filter(|until| *until > now).min()
    }

    /// Whether a call of this step is under way that may still act.
    pub(super) fn may_still_act(&self, run: RunId, step: &StepPath) -> bool {
        let same = |task: &Task| task.run == run && task.step == *step;
        self.fresh.iter().any(same) || self.open.iter().any(|c| same(&c.task) && !c.acted)
    }

    pub(super) fn abandon(&mut self, run: RunId, step: &StepPath, attempt: u32) {
        for call in &mut self.open {
            let task = &call.task;
            if task.run == run && task.step == *step && task.attempt == attempt {
                call.abandoned = true;
            }
        }
    }
}

impl Call {
    fn awake(&self, now: Millis) -> bool {
        self.hangs.is_none_or(|until| until <= now)
    }
}
