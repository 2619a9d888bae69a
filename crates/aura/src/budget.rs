//! Budgets as people read and write them.

use aura_core::budget::{
    Amounts, Budget, BudgetExceeded, Limits, OnExceeded, Resource, Rounding, micros,
};
use aura_core::error::{Code, Problem};
use aura_core::path::StepPath;
use aura_core::time::{Millis, parse_duration};
use aura_graph::Run;
use aura_graph::state::{Lack, Pool};
use serde_json::{Map, Value, json};

/// What stands for the run itself where a step is named: no node has this name.
pub(crate) const RUN: &str = ".";

/// A place as it is typed: a step, or the run itself.
pub(crate) fn typed(place: &StepPath) -> &str {
    if place.is_root() { RUN } else { place.as_str() }
}

/// A place as it is told.
pub(crate) fn told(place: &StepPath) -> &str {
    if place.is_root() { "the run" } else { place.as_str() }
}

/// The budget of `--budget`, such as `usd=0.50,steps=200`.
pub(crate) fn parse(given: &[String]) -> Result<Option<Budget>, Problem> {
    let mut limits = Limits::default();
    for part in given.iter().flat_map(|text| text.split(',')) {
        let wrong = |why: &str| {
            Problem::new(Code::Usage, format!("--budget '{part}': {why}"))
                .next("--budget usd=0.50,steps=200,tool_calls=40,tokens=10000,duration=1h")
        };
        let (name, text) = part.split_once('=').ok_or_else(|| wrong("write NAME=AMOUNT"))?;
        let resource = Resource::named(name.trim())
            .ok_or_else(|| wrong("there are usd, tokens, steps, tool_calls and duration"))?;
        let text = text.trim();
        let amount = match resource {
            Resource::Usd => micros(text, Rounding::Down)
                .ok_or_else(|| wrong("write a number of dollars such as 0.50"))?,
            Resource::Duration => parse_duration(text).map_err(|e| wrong(&e.to_string()))?,
            _ => text.parse().map_err(|_| wrong("write a whole number"))?,
        };
        *limits.of_mut(resource) = Some(amount);
    }
    Ok((!limits.is_empty()).then_some(Budget { limits, ask: false }))
}

/// What became of a budget at a time, a part for each resource that is limited or was used.
pub(crate) fn parts(pool: &Pool, now: Millis) -> Vec<String> {
    let mut parts = Vec::new();
    for resource in Resource::ALL {
        let (limit, used) = (pool.limits.of(resource), pool.used(resource, now));
        let reserved = pool.reserved.of(resource);
        let unlimited = limit.is_none();
        // How long a run took, and of how many steps it is, is told elsewhere.
        let counted = matches!(resource, Resource::Usd | Resource::Tokens);
        if unlimited && (!counted || used + reserved == 0) {
            continue;
        }
        let mut part = resource.show(used);
        if let Some(limit) = limit {
            part = format!("{part} of {}", resource.show(limit));
        }
        if !matches!(resource, Resource::Usd | Resource::Duration) {
            part = format!("{part} {}", words(resource));
        }
        if reserved > 0 {
            part = format!("{part} ({} more reserved)", resource.show(reserved));
        }
        parts.push(part);
    }
    parts
}

fn words(resource: Resource) -> &'static str {
    match resource {
        Resource::Usd => "dollars",
        Resource::Tokens => "tokens",
        Resource::Steps => "steps",
        Resource::ToolCalls => "calls",
        Resource::Duration => "of time",
    }
}

/// Amounts in words: `$0.50, 3 calls`.
pub(crate) fn amounts(amounts: &Amounts) -> String {
    let used = Resource::ALL.into_iter().filter(|resource| amounts.of(*resource) > 0);
    let parts = used.map(|resource| match resource {
        Resource::Usd => resource.show(amounts.of(resource)),
        counted => format!("{} {}", counted.show(amounts.of(counted)), words(counted)),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// Until when a budget's time runs: it stands still while a person is asked for more.
fn until(run: &Run, of: &StepPath, now: Millis) -> Millis {
    let asked = run.approvals.get(of).filter(|asked| asked.request.raise.is_some());
    asked.map_or(now, |asked| asked.since)
}

/// A budget of a flow: `$0.50, 200 steps, 1 h 00 m; asks for more`.
pub(crate) fn declared(budget: &Budget) -> String {
    let limited = Resource::ALL.into_iter().filter_map(|resource| {
        let amount = resource.show(budget.limits.of(resource)?);
        Some(match resource {
            Resource::Usd | Resource::Duration => amount,
            counted => format!("{amount} {}", words(counted)),
        })
    });
    let asks = if budget.ask { "; asks for more" } else { "" };
    format!("{}{asks}", limited.collect::<Vec<_>>().join(", "))
}

/// A row for each budget of a run: its place if it is a step's, and what became of it.
pub(crate) fn rows(run: &Run, now: Millis) -> Vec<String> {
    let own = parts(&run.budgets.run, until(run, &StepPath::root(), now)).join(", ");
    let steps =
        run.budgets.steps.iter().map(|(step, pool)| {
            format!("{step}: {}", parts(pool, until(run, step, now)).join(", "))
        });
    Some(own).filter(|own| !own.is_empty()).into_iter().chain(steps).collect()
}

/// The budgets of a run for programs.
pub(crate) fn document(run: &Run, now: Millis) -> Value {
    let steps = run.budgets.steps.iter();
    let steps: Map<String, Value> =
        steps.map(|(step, pool)| (step.to_string(), of(pool, until(run, step, now)))).collect();
    let mut own = of(&run.budgets.run, until(run, &StepPath::root(), now));
    own["steps_within"] = Value::Object(steps);
    own
}

fn of(pool: &Pool, now: Millis) -> Value {
    let resources = Resource::ALL.into_iter().map(|resource| {
        let told = json!({
            "limit": pool.limits.of(resource),
            "spent": pool.used(resource, now),
            "reserved": pool.reserved.of(resource),
            "left": pool.left(resource, now),
        });
        let name = match resource {
            Resource::Usd => "usd_micros",
            Resource::Duration => "duration_ms",
            other => other.as_str(),
        };
        (name.to_owned(), told)
    });
    Value::Object(resources.collect())
}

/// A limit that would have been passed, in a line.
pub(crate) fn exceeded(data: &BudgetExceeded) -> String {
    let then = match data.then {
        OnExceeded::Fail => "",
        OnExceeded::Ask => "; a person is asked for more",
    };
    format!("{}{then}", Lack::from(data).told())
}
