//! What a run, and the steps within a step, may use up; what they used, and what calls in flight may still use.

use std::sync::Arc;

use aura_core::budget::{Amounts, Budget, BudgetExceeded, Limits, OnExceeded, Raise, Resource};
use aura_core::error::{Code, Failure};
use aura_core::event::Purpose;
use aura_core::path::StepPath;
use aura_core::time::Millis;
use serde::{Deserialize, Serialize};

use super::tree::{Trouble, keys_below};
use super::{Run, Shared, maps};

/// The budgets of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Budgets {
    /// That of the run; without limits, it only counts.
    pub run: Pool,
    /// Those of steps in work, which hold for what is within them.
    #[serde(with = "maps")]
    pub steps: Shared<StepPath, Arc<Pool>>,
    /// What each call that is not settled reserved.
    #[serde(with = "maps")]
    pub open: Shared<StepPath, Amounts>,
    /// What is set aside for each child in work.
    #[serde(default, with = "maps")]
    pub lent: Shared<StepPath, Amounts>,
}

/// A budget, and what was used of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The limits, as they were raised.
    pub limits: Limits,
    /// What it began with.
    pub first: Budget,
    /// Who said no to more: nobody is asked again.
    pub denied: Option<String>,
    /// What was used: settled costs, nodes that started, intents.
    pub spent: Amounts,
    /// What is reserved, in all.
    pub reserved: Amounts,
    /// What of it is set aside for children: as much of it as they leave is free again when they end.
    #[serde(default)]
    pub lent: Amounts,
    /// When its time began; later by the time in which its question was open.
    pub since: Millis,
}

/// A limit that something would pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Whose budget it is: a step, or the run.
    pub of: StepPath,
    /// The resource.
    pub resource: Resource,
    /// Its limit.
    pub limit: u64,
    /// What was used of it.
    pub spent: u64,
    /// What is reserved of it.
    pub reserved: u64,
    /// What was asked for.
    pub wanted: u64,
}

impl Pool {
    fn begun(budget: &Budget, since: Millis) -> Self {
        Self { limits: budget.limits, first: *budget, since, ..Self::default() }
    }

    /// Whether a person is asked where a limit would be passed.
    pub fn asks(&self) -> bool {
        self.first.ask && self.denied.is_none()
    }

    /// What was used of a resource at a time.
    pub fn used(&self, resource: Resource, now: Millis) -> u64 {
        match resource {
            Resource::Duration => now.since(self.since),
            counted => self.spent.of(counted),
        }
    }

    /// What may still be used or reserved of a resource; absent where there is no limit.
    pub fn left(&self, resource: Resource, now: Millis) -> Option<u64> {
        let used = self.used(resource, now).saturating_add(self.reserved.of(resource));
        Some(self.limits.of(resource)?.saturating_sub(used))
    }

    /// The first resource of which there is too little for `new`, with what is reserved as `reserved` tells it.
    fn lack(&self, of: &StepPath, new: Amounts, reserved: fn(&Self) -> Amounts) -> Option<Lack> {
        if self.limits.is_empty() {
            return None;
        }
        Resource::ALL.into_iter().find_map(|resource| {
            let (limit, wanted) = (self.limits.of(resource)?, new.of(resource));
            let (spent, reserved) = (self.spent.of(resource), reserved(self).of(resource));
            let after = spent.saturating_add(reserved).saturating_add(wanted);
            let of = of.clone();
            (wanted > 0 && after > limit).then_some(Lack {
                of,
                resource,
                limit,
                spent,
                reserved,
                wanted,
            })
        })
    }
}

impl Budgets {
    /// The budget of a step, or of the run.
    pub fn of(&self, path: &StepPath) -> Option<&Pool> {
        if path.is_root() { Some(&self.run) } else { self.steps.get(path).map(|pool| &**pool) }
    }

    /// The limit that `new` at `step` would pass, that of the run first, then from the outside in.
    pub fn lack(&self, step: &StepPath, new: Amounts) -> Option<Lack> {
        self.lack_with(step, new, |pool| pool.reserved)
    }

    /// Whether `new` at `step` would pass a limit only because of what is set aside for children: it waits for them.
    pub fn waits_for_children(&self, step: &StepPath, new: Amounts) -> bool {
        let unlent = |pool: &Pool| pool.reserved.minus(pool.lent);
        !self.lent.is_empty()
            && self.lack(step, new).is_some()
            && self.lack_with(step, new, unlent).is_none()
    }

    fn lack_with(
        &self,
        step: &StepPath,
        new: Amounts,
        reserved: fn(&Pool) -> Amounts,
    ) -> Option<Lack> {
        let own = self.run.lack(&StepPath::root(), new, reserved);
        if own.is_some() || self.steps.is_empty() {
            return own;
        }
        let mut around = around(step);
        around.reverse();
        around.iter().find_map(|path| self.steps.get(path)?.lack(path, new, reserved))
    }

    /// The budgets that hold for what starts at `step`, that of the run first, each with whose it is.
    pub(crate) fn holding(&self, step: &StepPath) -> Vec<(StepPath, &Pool)> {
        let mut around = around(step);
        around.reverse();
        let steps = around.into_iter().filter_map(|path| {
            let pool = self.steps.get(&path)?;
            Some((path, &**pool))
        });
        std::iter::once((StepPath::root(), &self.run)).chain(steps).collect()
    }

    /// Whether no node may start any more at `step`, because a budget around it has no steps left.
    pub fn out_of_steps(&self, step: &StepPath) -> bool {
        self.lack(step, Amounts { steps: 1, ..Amounts::default() })
            .is_some_and(|lack| lack.resource == Resource::Steps)
    }

    fn of_mut(&mut self, path: &StepPath) -> Option<&mut Pool> {
        if path.is_root() {
            Some(&mut self.run)
        } else {
            self.steps.get_mut(path).map(Arc::make_mut)
        }
    }

    /// Changes every budget around `step`.
    fn each(&mut self, step: &StepPath, change: impl Fn(&mut Pool)) {
        change(&mut self.run);
        if self.steps.is_empty() {
            return;
        }
        for path in around(step) {
            if let Some(pool) = self.steps.get_mut(&path) {
                change(Arc::make_mut(pool));
            }
        }
    }

    pub(super) fn count(&mut self, step: &StepPath, amounts: Amounts) {
        self.each(step, |pool| pool.spent = pool.spent.plus(amounts));
    }

    pub(super) fn reserve(&mut self, step: &StepPath, amounts: Amounts) {
        self.each(step, |pool| pool.reserved = pool.reserved.plus(amounts));
        self.open.insert_mut(step.clone(), amounts);
    }

    /// Sets aside what the child of a step may use.
    pub(super) fn lend(&mut self, step: &StepPath, amounts: Amounts) {
        self.each(step, |pool| {
            pool.reserved = pool.reserved.plus(amounts);
            pool.lent = pool.lent.plus(amounts);
        });
        self.lent.insert_mut(step.clone(), amounts);
    }

    pub(super) fn settle(&mut self, step: &StepPath, spent: Amounts) -> Option<()> {
        if let Some(lent) = self.lent.get(step).copied() {
            self.lent.remove_mut(step);
            self.each(step, |pool| {
                pool.reserved = pool.reserved.minus(lent);
                pool.lent = pool.lent.minus(lent);
                pool.spent = pool.spent.plus(spent);
            });
            return Some(());
        }
        let reserved = *self.open.get(step)?;
        self.open.remove_mut(step);
        self.each(step, |pool| {
            pool.reserved = pool.reserved.minus(reserved);
            pool.spent = pool.spent.plus(spent);
        });
        Some(())
    }

    /// Forgets what lies at `path` or below it; a reservation that nobody settled counts as used.
    pub(super) fn drop_below(&mut self, path: &StepPath) {
        for step in keys_below(&self.lent, path) {
            let lent = self.lent.get(&step).copied().unwrap_or_default();
            self.settle(&step, lent);
        }
        if !self.open.is_empty() {
            for step in keys_below(&self.open, path) {
                let reserved = self.open.get(&step).copied().unwrap_or_default();
                self.settle(&step, reserved);
            }
        }
        if !self.steps.is_empty() {
            for step in keys_below(&self.steps, path) {
                self.steps.remove_mut(&step);
            }
        }
    }
}

/// The steps around `place` and itself, the innermost first.
fn around(place: &StepPath) -> Vec<StepPath> {
    let mut found = Vec::new();
    let mut at = Some(place.clone());
    while let Some(path) = at {
        at = path.parent();
        if !path.is_body() {
            found.push(path);
        }
    }
    found
}

impl Run {
    /// A budget begins: that of a step, or of the run.
    pub(super) fn begin_budget(&mut self, of: &StepPath, budget: &Budget) {
        let pool = Pool::begun(budget, self.at);
        if of.is_root() {
            self.budgets.run = pool;
        } else {
            self.budgets.steps.insert_mut(of.clone(), Arc::new(pool));
        }
        self.time_budget(of);
    }

    /// The time of a budget runs.
    fn time_budget(&mut self, of: &StepPath) {
        let Some(pool) = self.budgets.of(of) else { return };
        match pool.limits.duration_ms {
            Some(span) => self.timers.set(of.clone(), Purpose::Budget, pool.since.plus(span)),
            None => self.timers.clear(of, Purpose::Budget),
        }
    }

    /// A person is asked for more: the budget's time stands still.
    pub(super) fn ask_for_more(&mut self, of: &StepPath) {
        self.timers.clear(of, Purpose::Budget);
    }

    /// The question is answered: the budget's time goes on, unless it is that which was asked for and is over.
    pub(super) fn answered_for_more(
        &mut self,
        of: &StepPath,
        (raise, asked): (Raise, Millis),
        denied: Option<&str>,
    ) -> Option<()> {
        let waited = self.at.since(asked);
        let pool = self.budgets.of_mut(of)?;
        pool.since = pool.since.plus(waited);
        pool.denied = denied.map(str::to_owned);
        if raise.resource != Resource::Duration {
            self.time_budget(of);
        }
        Some(())
    }

    pub(super) fn raise_budget(
        &mut self,
        of: &StepPath,
        (resource, limit): (Resource, u64),
    ) -> Option<()> {
        *self.budgets.of_mut(of)?.limits.of_mut(resource) = Some(limit);
        if resource == Resource::Duration {
            self.time_budget(of);
        }
        Some(())
    }

    /// A limit would be passed. Where the time is over and nobody is asked, all that is within the budget stops.
    pub(super) fn exceed_budget(&mut self, step: &StepPath, data: &BudgetExceeded) -> Option<()> {
        if data.resource != Resource::Duration || data.then != OnExceeded::Fail {
            return Some(());
        }
        let error = self.lack_failure(&Lack::from(data));
        let trouble = Trouble { error, step: step.clone() };
        if step.is_root() {
            Arc::make_mut(&mut self.root).failing.get_or_insert(trouble);
        } else {
            self.node_mut(step)?.failing.get_or_insert(trouble);
        }
        Some(())
    }

    /// How something fails for what it lacks.
    pub fn lack_failure(&self, lack: &Lack) -> Failure {
        let denied = self.budgets.of(&lack.of).and_then(|pool| pool.denied.as_deref());
        let denied = denied.map(|actor| format!("; {actor} said no to more")).unwrap_or_default();
        Failure::certain(Code::BudgetExceeded, format!("{}{denied}", lack.told()))
    }

    /// In a fork: the budget that its flow says, of which its parent's beginning used what it used. What is open is
    /// begun again, and asked about anew.
    pub(super) fn fork_budget(&mut self, budget: &Budget, later_ms: u64) {
        let asked: Vec<_> = self
            .approvals
            .iter()
            .filter(|(_, asked)| asked.request.raise.is_some())
            .map(|(of, asked)| (of.clone(), self.at.since(asked.since)))
            .collect();
        for (of, waited) in asked {
            self.approvals.remove_mut(&of);
            if let Some(pool) = self.budgets.of_mut(&of) {
                // All of the time since the question is left out; what the fork came later is part of it.
                pool.since = pool.since.plus(waited.saturating_sub(later_ms));
            }
        }
        let of: Vec<_> = self.budgets.steps.keys().cloned().chain([StepPath::root()]).collect();
        for of in &of {
            if let Some(pool) = self.budgets.of_mut(of) {
                pool.since = pool.since.plus(later_ms);
            }
        }
        let run = &mut self.budgets.run;
        (run.limits, run.first, run.denied) = (budget.limits, *budget, None);
        for of in &of {
            self.time_budget(of);
        }
    }

    /// Whether people are asked for more for a budget that holds at `place`: nothing new starts there.
    pub fn asks_for_more(&self, place: &StepPath) -> bool {
        if self.approvals.is_empty() {
            return false;
        }
        let asked = |of: &StepPath| {
            self.approvals.get(of).is_some_and(|asked| asked.request.raise.is_some())
        };
        asked(&StepPath::root()) || around(place).iter().any(asked)
    }

    /// Whether a task waits until people have answered whether a budget is raised, or until children have ended that
    /// may use what there is.
    pub fn waits_for_more(&self, step: &StepPath) -> bool {
        (self.asks_for_more(step) || self.waits_for_children(step))
            && !self.is_bound_to_follow(step)
    }

    /// Whether the call of a task would fit its budgets but for what is set aside for children.
    pub fn waits_for_children(&self, step: &StepPath) -> bool {
        !self.budgets.lent.is_empty()
            && self.tasks.get(step).is_some_and(|task| {
                let cost = task.spec.cost.unwrap_or_default();
                self.budgets.waits_for_children(step, Amounts { tool_calls: 1, ..cost })
            })
    }

    /// Whether the call of a step follows up one that was made: no budget stops it. That is the case for a
    /// compensation, for a probe, and for a call that may have acted.
    pub fn is_bound_to_follow(&self, step: &StepPath) -> bool {
        let doubtful = |task: &super::Task| task.doubtful && !task.spec.class.abandonable();
        step.is_body()
            || step.compensates().is_some()
            || self.tasks.get(step).is_some_and(|task| doubtful(task))
    }
}

impl Lack {
    /// The fact, with what follows from it.
    pub fn event(self, then: OnExceeded) -> BudgetExceeded {
        let Self { of, resource, limit, spent, reserved, wanted } = self;
        BudgetExceeded { of, resource, limit, spent, reserved, wanted, then }
    }

    /// What is lacking, in words.
    pub fn told(&self) -> String {
        let Self { of, resource, limit, spent, reserved, wanted } = self;
        let show = |amount: &u64| resource.show(*amount);
        let whose = if of.is_root() { "the run".to_owned() } else { format!("'{of}'") };
        if *resource == Resource::Duration {
            return format!("{whose} has taken the {} that its budget gives it", show(limit));
        }
        let reserved =
            if *reserved > 0 { format!(", {} reserved", show(reserved)) } else { String::new() };
        format!(
            "the budget of {whose} for {resource} is {}: {} used{reserved}, {} more asked for",
            show(limit),
            show(spent),
            show(wanted),
        )
    }
}

impl From<&BudgetExceeded> for Lack {
    fn from(event: &BudgetExceeded) -> Self {
        let BudgetExceeded { of, resource, limit, spent, reserved, wanted, .. } = event.clone();
        Self { of, resource, limit, spent, reserved, wanted }
    }
}
