//! Budgets and costs.

use aura_core::budget::{Budget, Limits, Resource, Rounding, micros};
use aura_core::limits;
use serde_json::Value;

use super::Reader;
use super::fields::Fields;
use crate::definition::diagnostic::Finding;
use crate::definition::draft::{Cost, NodeCost, Placed};
use crate::definition::tree::{Content, Tree};
use crate::expr::Template;

const DOLLARS: &str = "a number of dollars, at least 0";

impl Reader<'_> {
    /// What a run, or the steps within a node, may use up.
    pub(super) fn budget(&mut self, fields: &Fields<'_>) -> Option<Budget> {
        let (tree, path) = (fields.get("budget")?, fields.path("budget"));
        let fields = self.fields(tree, &path, "Budget")?;
        let limits = Limits {
            usd_micros: self.dollars(&fields),
            tokens: self.whole(&fields, "tokens", 0, limits::BUDGET_AMOUNT),
            steps: self.whole(&fields, "steps", 0, limits::BUDGET_AMOUNT),
            tool_calls: self.whole(&fields, "tool_calls", 0, limits::BUDGET_AMOUNT),
            duration_ms: self.duration(&fields, "duration"),
        };
        let ask = self.word(&fields, "on_exceeded", &["fail", "ask"], &[]) == Some("ask");
        let says_none = Resource::ALL.iter().all(|one| fields.get(one.as_str()).is_none());
        if says_none && !fields.strange {
            self.note(&tree.span, &path, "the budget limits nothing")
                .suggest("add usd, tokens, steps, tool_calls or duration");
        }
        Some(Budget { limits, ask })
    }

    fn dollars(&mut self, fields: &Fields<'_>) -> Option<u64> {
        let tree = fields.get("usd")?;
        let found = match &tree.content {
            Content::Scalar(Value::Number(number)) => micros(&number.to_string(), Rounding::Down),
            _ => None,
        };
        if found.is_none() {
            self.no_amount(tree, &fields.path("usd"), DOLLARS)
                .suggest("write it without quotes and without a sign, such as 0.50");
        }
        found
    }

    /// What a call costs.
    pub(super) fn node_cost<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<NodeCost<'t>> {
        let fields = self.fields(tree, path, "Cost")?;
        let most = self.cost(&fields);
        if fields.get("usd").is_none() && fields.get("tokens").is_none() && !fields.strange {
            self.note(&fields.start, path, "nothing says what the call costs at most")
                .suggest("add 'usd', 'tokens' or both");
        }
        let actual = fields.get("actual").and_then(|tree| {
            let fields = self.fields(tree, &fields.path("actual"), "Actual")?;
            Some(self.cost(&fields))
        });
        Some(NodeCost { most, actual, span: tree.span.clone(), path: path.to_owned() })
    }

    fn cost<'t>(&mut self, fields: &Fields<'t>) -> Cost<'t> {
        Cost { usd: self.amount(fields, "usd"), tokens: self.amount(fields, "tokens") }
    }

    fn amount<'t>(&mut self, fields: &Fields<'t>, key: &str) -> Option<Placed<'t, Template>> {
        let tree = fields.get(key)?;
        let amount = self.template(tree, &fields.path(key))?;
        let fits = match &amount.value {
            Template::Expr(_) => true,
            Template::Literal(value) => match (&**value, key) {
                (Value::Number(number), "usd") => {
                    micros(&number.to_string(), Rounding::Up).is_some()
                }
                (value, _) => value.as_u64().is_some_and(|n| n <= limits::BUDGET_AMOUNT),
            },
            _ => false,
        };
        if !fits {
            let what = if key == "usd" { DOLLARS } else { "a whole number, at least 0" };
            self.no_amount(tree, &fields.path(key), what)
                .suggest("or one whole expression that gives one");
            return None;
        }
        Some(amount)
    }

    fn no_amount(&mut self, tree: &Tree, path: &str, what: &str) -> &mut Finding {
        match &tree.content {
            Content::Scalar(Value::Number(number)) => {
                self.note(&tree.span, path, format!("expected {what}, found {number}"))
            }
            _ => self.expected(tree, path, what),
        }
    }
}
