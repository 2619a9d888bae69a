//! What a child may use up: its parent sets aside a share of what is left before it starts, and what the child used is
//! settled when it ends. So the limits of the parent hold for the whole tree, and no child asks another run.

use aura_core::budget::{Amounts, Budget, BudgetReserved, BudgetSettled, Limits, Resource};
use aura_core::event::{EventBody, RunStarted};
use aura_core::path::StepPath;

use super::turn::{Step, Work};
use crate::definition::{Child, Kind, Node};
use crate::flags::CHILDREN_COUNT;
use crate::state::Lack;

/// Resources that children share with their parent; the time of a parent bounds its children by itself.
const COUNTED: [Resource; 4] =
    [Resource::Usd, Resource::Tokens, Resource::Steps, Resource::ToolCalls];

/// What there is for a child that is about to start.
pub(super) enum Share {
    /// This; nothing is limited where it is `None`.
    Of(Option<Budget>),
    /// Perhaps more when other children have ended.
    Later,
    /// Too little to start at all.
    Lacks(Lack),
}

/// What a run that starts may use up: what its flow and whoever started it say, within the share of its parent.
pub(super) fn at_start(own: Option<Budget>, start: &RunStarted) -> Option<Budget> {
    let budget = match (own, start.budget) {
        (own, Some(given)) => Some(own.unwrap_or_default().tightened(&given.limits)),
        (own, None) => own,
    };
    let Some(share) = start.parent.as_ref().and_then(|parent| parent.budget) else {
        return budget;
    };
    let before = budget.unwrap_or_default();
    let limits = before.limits.tightened(&share.limits);
    // Whose limit is met decides whether a person is asked for more.
    let may_ask = own.is_none_or(|own| own.ask);
    let ask = if limits == before.limits { before.ask } else { share.ask && may_ask };
    Some(Budget { limits, ask })
}

impl Work<'_, '_> {
    /// Whether a node that could start waits for its budgets: for an answer of a person, or for children that may use
    /// what there is.
    pub(super) fn waits_for_budget(&self, body: &StepPath, node: &Node) -> bool {
        if self.run.asks_for_more(body) {
            return true;
        }
        if self.run.budgets.lent.is_empty() {
            return false;
        }
        let step = self.visit(body, &node.id);
        let one = Amounts { steps: 1, ..Amounts::default() };
        if self.run.budgets.waits_for_children(&step, one) {
            return true;
        }
        let Kind::Child(child) = &node.kind else { return false };
        !child.detached && matches!(self.share_of(&step, node, child), Share::Later)
    }

    /// What a child may use up: of each limit around its step as much as its flow or its node says, else all that is
    /// left. What other children may still use is waited for.
    pub(super) fn share_of(&self, step: &StepPath, node: &Node, child: &Child) -> Share {
        let heading = self.flow.children.get(&child.file).and_then(|heading| heading.budget);
        let given = node.budget.map(|budget| budget.limits).unwrap_or_default();
        let own = heading.map(|budget| budget.limits).unwrap_or_default().tightened(&given);
        let holding = self.run.budgets.holding(step);
        let mut limits = Limits { duration_ms: None, ..given };
        for resource in COUNTED {
            let most = own.of(resource).unwrap_or(u64::MAX);
            for (of, pool) in &holding {
                let Some(left) = pool.left(resource, self.now) else { continue };
                // The step itself counts as one.
                let left = left.saturating_sub(u64::from(resource == Resource::Steps));
                if most > left && pool.lent.of(resource) > 0 {
                    return Share::Later;
                }
                if resource == Resource::Steps && left == 0 {
                    return Share::Lacks(Lack {
                        of: of.clone(),
                        resource,
                        limit: pool.limits.steps.unwrap_or_default(),
                        spent: pool.spent.steps,
                        reserved: pool.reserved.steps,
                        wanted: 2,
                    });
                }
                let limit = limits.of_mut(resource);
                *limit = Some(limit.unwrap_or(u64::MAX).min(most).min(left));
            }
        }
        let asking = |pool: &crate::state::Pool| pool.limits.is_empty() || pool.asks();
        let ask = node.budget.is_none_or(|budget| budget.ask)
            && holding.iter().all(|(_, pool)| asking(pool));
        Share::Of((!limits.is_empty()).then_some(Budget { limits, ask }))
    }

    /// What a child may use up that does not count for its parent: what that may, as a budget of its own.
    pub(super) fn own_share(&self, node: &Node) -> Option<Budget> {
        let given = node.budget?;
        let above = self.run.started.as_ref().and_then(|started| started.budget);
        Some(Budget {
            limits: given.limits.tightened(&above.unwrap_or_default().limits),
            ask: given.ask,
        })
    }

    /// Whether what children use counts for this run.
    pub(super) fn children_count(&self) -> bool {
        self.run.obeys(CHILDREN_COUNT)
    }

    /// Sets aside what a child may use.
    pub(super) fn lend(&mut self, step: &StepPath, share: Option<Budget>) -> Step {
        let amounts = share.map(|share| share.limits.amounts()).unwrap_or_default();
        if amounts.is_nothing() {
            return Ok(());
        }
        self.emit(step, EventBody::BudgetReserved(BudgetReserved { amounts }))
    }

    /// A child ended and used so much. Gives back whether something was set aside for it.
    pub(super) fn settle_child(&mut self, step: &StepPath, used: Option<Amounts>) -> Step<bool> {
        let Some(reserved) = self.run.budgets.lent.get(step).copied() else { return Ok(false) };
        let spent = used.unwrap_or(reserved);
        self.emit(step, EventBody::BudgetSettled(BudgetSettled { reserved, spent }))?;
        Ok(true)
    }

    /// Another run goes on in the place of a child that used so much: what it left is for that one.
    pub(super) fn lend_on(&mut self, step: &StepPath, used: Option<Amounts>) -> Step {
        let lent = self.run.budgets.lent.get(step).copied().unwrap_or_default();
        if !self.settle_child(step, used)? {
            return Ok(());
        }
        let amounts = lent.minus(used.unwrap_or(lent));
        self.emit(step, EventBody::BudgetReserved(BudgetReserved { amounts }))
    }
}
