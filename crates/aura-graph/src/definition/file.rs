//! The keys of a flow file, as Rust types: the one table of them.
//!
//! The JSON Schema that editors use is derived from these types, and the reader takes the keys that it knows from
//! that schema, so that a key can't be known to one and not to the other. Nothing is deserialised into these types:
//! a value here may always be a template, and the reader reports every mistake with its place.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

/// A flow: a graph of nodes that a run executes durably.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Aura flow")]
#[expect(clippy::struct_field_names, reason = "the key of the file has this name")]
pub(super) struct Flow {
    /// The name of the flow.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"), length(min = 1, max = 128))]
    flow: String,
    /// Its version, a text: quote it if it looks like a number, as in "1.2".
    #[schemars(length(min = 1, max = 128))]
    version: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// JSON Schema (2020-12) of the input. An input that does not fit is refused before the run starts.
    input: Option<BTreeMap<String, Value>>,
    /// Variables with their first values; `set` nodes change them. Read as `vars.NAME`.
    vars: Option<BTreeMap<String, Value>>,
    /// Time that a run may take, such as `1h`; then it fails with DEADLINE.
    deadline: Option<Duration>,
    /// JSON Schema of the payload of each signal, by name. With it, a run takes no other signals.
    signals: Option<BTreeMap<String, BTreeMap<String, Value>>>,
    /// What the flow does: a list of nodes. Each follows the one above it unless it says otherwise.
    #[schemars(length(min = 1))]
    nodes: Vec<Node>,
    /// What a run may use up.
    budget: Option<Budget>,
    /// The output of the run, any value with expressions. Without it: the output of the last node that completed.
    output: Option<Value>,
}

/// A node: one step of a flow. It has an `id` and exactly one kind: `tool`, `code`, `set`, `switch`, `parallel`, `map`,
/// `loop`, `sleep`, `wait`, `approval`, `verify`, `flow` or `continue`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = one_kind(), "dependentSchemas" = of_kinds()))]
pub(super) struct Node {
    /// Its id, unique in its list; others refer to it as `steps.ID`.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"), length(min = 1, max = 128))]
    id: String,
    /// What it does, in a few words for people.
    title: Option<String>,
    /// A condition; where it is false the node is skipped and the flow goes on.
    when: Option<Condition>,
    /// Nodes of the same list that it waits for, instead of the node above it. `[]` starts at once.
    after: Option<OneOrMany>,
    /// Where the flow goes next: a node of the same list, or routes of which the first that holds is taken.
    next: Option<Next>,
    /// What its failure means: `fail` (the default), `continue` with a null output, or the id of a handler node.
    on_error: Option<String>,
    /// Tries of each call and the waits between them (tool and code nodes).
    retry: Option<Retry>,
    /// Time that one attempt may take, or a function from one call to the next, such as `30s` (tool and code nodes).
    timeout: Option<Duration>,
    /// Time within which an attempt must tell that it is alive, such as `30s`; an attempt that does not is lost (tool
    /// nodes).
    heartbeat: Option<Duration>,
    /// Time that the node may take with all its tries, such as `10m`.
    deadline: Option<Duration>,
    /// How the call marks the world, where the tool's own class is not the right one (tool nodes).
    effect: Option<Effect>,
    /// What to do when it stays unknown whether the effect happened (tool and code nodes): `ask` a person, `probe`, or
    /// `fail`.
    on_unknown: Option<OnUnknown>,
    /// How to find out whether the effect happened (tool nodes).
    probe: Option<Probe>,
    /// Where the same call counts as one (tool nodes): its result is then given again instead of calling again.
    idempotency: Option<Idempotency>,
    /// What a call costs (tool nodes).
    cost: Option<Cost>,
    /// What the steps within it may use up together, at each visit anew (code, switch, parallel, map and loop nodes).
    budget: Option<Budget>,
    /// The id of the node to go to where a budget does not let it be done (tool, code, switch, parallel, map and loop
    /// nodes).
    on_budget: Option<String>,
    /// How often a `next` that leads back may visit the node.
    #[schemars(range(min = 1, max = 100))]
    max_visits: Option<u32>,
    /// Calls the tool of this name.
    tool: Option<String>,
    /// Runs the function of this name, which a program that embeds Aura registers.
    code: Option<String>,
    /// The tools that the function may call (code nodes).
    #[schemars(length(min = 1))]
    tools: Option<Vec<String>>,
    /// The tool's parameters, or what the function is given; texts in it may hold expressions.
    with: Option<BTreeMap<String, Value>>,
    /// What undoes the step if the run fails or is cancelled after it (tool nodes).
    compensate: Option<Compensate>,
    /// Sets variables.
    set: Option<BTreeMap<String, Value>>,
    /// Runs the nodes of the first case whose condition holds.
    switch: Option<Switch>,
    /// Runs branches side by side.
    parallel: Option<Parallel>,
    /// Runs nodes once for each item of a list.
    map: Option<Map>,
    /// Runs nodes again and again.
    r#loop: Option<Loop>,
    /// Pauses for a duration such as `5s`.
    sleep: Option<Sleep>,
    /// Waits for a signal; its payload is the output.
    wait: Option<Wait>,
    /// Asks a person for approval.
    approval: Option<Approval>,
    /// Checks a value against a JSON Schema and weighted checks.
    verify: Option<Verify>,
    /// Runs another flow as a child run; its output is that of the child.
    flow: Option<Child>,
    /// Ends this run and starts the same flow anew in its place: an endless flow keeps a small history.
    r#continue: Option<Continue>,
}

/// The kinds of node, as in [`Node`].
pub(super) const KINDS: &[&str] = &[
    "tool", "code", "set", "switch", "parallel", "map", "loop", "sleep", "wait", "approval",
    "verify", "flow", "continue",
];

fn one_kind() -> Value {
    KINDS.iter().map(|kind| serde_json::json!({ "required": [kind] })).collect()
}

/// Nodes with steps within them.
const WITHIN: &[&str] = &["code", "switch", "parallel", "map", "loop", "flow"];

/// Nodes that a budget may stop.
const BOUND: &[&str] = &["tool", "code", "switch", "parallel", "map", "loop", "flow"];

/// Keys that mean something on some kinds of node only: which, and why not elsewhere.
pub(super) const ONLY_ON: &[(&str, &[&str], &str)] = &[
    ("with", &["tool", "code"], "only a tool or a function takes parameters"),
    ("retry", &["tool", "code"], "only the call of a tool is tried again"),
    ("timeout", &["tool", "code"], "only a tool has attempts; 'deadline' bounds any node"),
    ("effect", &["tool"], "only a tool has an effect"),
    ("on_unknown", &["tool", "code"], "only the effect of a tool can stay unknown"),
    ("idempotency", &["tool"], "only the call of a tool has a key"),
    ("heartbeat", &["tool"], "only the call of a tool can tell that it is alive"),
    ("compensate", &["tool"], "only the effect of a tool can be undone"),
    ("probe", &["tool"], "only the effect of a tool can be looked for"),
    ("tools", &["code"], "only a function calls tools of its own accord"),
    ("cost", &["tool"], "only the call of a tool costs something"),
    ("budget", WITHIN, "only a node with steps within it has a budget of its own"),
    ("on_budget", BOUND, "a budget refuses calls and what stands around them"),
];

fn of_kinds() -> Value {
    let required = |kind: &&str| serde_json::json!({ "required": [kind] });
    let any = |kinds: &[&str]| {
        let any: Vec<_> = kinds.iter().map(required).collect();
        serde_json::json!({ "anyOf": any })
    };
    Value::Object(ONLY_ON.iter().map(|(key, kinds, _)| ((*key).to_owned(), any(kinds))).collect())
}

/// What may be used up. Each limit may be left out.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Budget {
    /// Dollars, of calls that say what they cost.
    #[schemars(range(min = 0.0, max = 1_000_000_000.0))]
    usd: Option<f64>,
    /// Tokens, of calls that say what they cost.
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    tokens: Option<u64>,
    /// Nodes that start.
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    steps: Option<u64>,
    /// Calls, other than pure ones; each try counts.
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    tool_calls: Option<u64>,
    /// Time from the start, such as `1h`.
    duration: Option<Duration>,
    /// What follows when a limit would be passed: `fail` (the default) with BUDGET_EXCEEDED, or `ask` a person for
    /// more.
    on_exceeded: Option<OnExceeded>,
}

/// What follows when a limit would be passed.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum OnExceeded {
    /// What would pass it fails.
    Fail,
    /// A person is asked for more, and nothing new starts meanwhile.
    Ask,
}

/// What a call costs at most, known before it is made; so much is reserved.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Cost {
    /// Dollars.
    usd: Option<Amount>,
    /// Tokens.
    tokens: Option<Amount>,
    /// What it did cost, from its output, which is called `output` here; otherwise all that was reserved counts.
    actual: Option<Actual>,
}

/// What a call did cost.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Actual {
    /// Dollars.
    usd: Option<Amount>,
    /// Tokens.
    tokens: Option<Amount>,
}

/// A number from 0, or an expression that gives one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Amount {
    Number(#[schemars(range(min = 0.0))] f64),
    Expression(String),
}

/// A condition: an expression such as `{{ input.amount > 100 }}`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Condition {
    Fixed(bool),
    Expression(String),
}

/// An id or a list of ids.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A node id, or routes.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Next {
    To(String),
    Routes(Vec<Route>),
}

/// A route of `next`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Route {
    /// When it is taken; without it, always.
    when: Option<Condition>,
    /// The id of a node of the same list.
    to: String,
}

/// A whole number and a unit: `250ms`, `5s`, `10m`, `24h` or `7d`.
pub(super) struct Duration;

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A whole number and a unit: `250ms`, `5s`, `10m`, `24h` or `7d`.",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
        })
    }
}

/// How a call marks the world.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Effect {
    /// Nothing outside, no cost.
    Pure,
    /// Looks, leaves no mark; runs again when in doubt.
    Read,
    /// The same key gives the same single effect; runs again with the same key when in doubt.
    Idempotent,
    /// The node's `probe` can find out whether it happened; when in doubt it is asked.
    Reconcilable,
    /// Anything else; when in doubt a person decides.
    Irreversible,
}

/// What to do with an effect whose outcome stays unknown.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum OnUnknown {
    /// Wait until a person settles it.
    Ask,
    /// Let the node's `probe` find out; where it can't tell, wait until a person settles it.
    Probe,
    /// Fail the node.
    Fail,
}

/// Where the same call (same tool, same parameters) has the same key. Of two such calls at once the second waits for
/// the first, and a result that was stored is given again.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Idempotency {
    /// `run` (the default): each step of each run has a key of its own.
    scope: Option<Scope>,
    /// How long a result is given again; 24h unless said otherwise, at most 30d. Not for `run`.
    ttl: Option<Duration>,
}

/// Where the same call has the same key.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Scope {
    /// In this step of this run.
    Run,
    /// In every run of this flow.
    Flow,
    /// In every run of every flow.
    Tenant,
}

/// A call that finds out whether an effect in doubt happened: it did where `done` holds, it did not where `not_done`
/// holds, and otherwise nobody can tell yet. Its expressions see `effect.key` and `effect.args` of the call in doubt.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Probe {
    /// The tool that looks; the call must be of class `read` or `pure`.
    tool: String,
    /// Its parameters; texts in them may hold expressions.
    with: Option<BTreeMap<String, Value>>,
    /// Holds where the effect happened; sees `probe.output` and `probe.error`.
    done: Condition,
    /// Holds where the effect certainly did not happen: the node may be tried again. Without it, nothing but `done` is
    /// ever certain.
    not_done: Option<Condition>,
    /// What the call would have given, if it happened; the probe's own output unless said otherwise.
    output: Option<Value>,
}

/// Tries and the waits between them: `initial`, then `factor` times as long each time, at most `max`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Retry {
    /// Tries in all; 3 unless said otherwise.
    #[schemars(range(min = 1, max = 100))]
    max_attempts: Option<u32>,
    /// The first wait; 2s unless said otherwise.
    initial: Option<Duration>,
    /// The longest wait; 16s unless said otherwise.
    max: Option<Duration>,
    /// Growth of the wait; 2 unless said otherwise.
    #[schemars(range(min = 1.0, max = 100.0))]
    factor: Option<f64>,
}

/// The call that undoes a step. Its parameters may use the step's own output.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Compensate {
    /// The tool.
    tool: String,
    /// Its parameters, rendered when the step completes; texts in them may hold expressions.
    with: Option<BTreeMap<String, Value>>,
    /// Tries and the waits between them.
    retry: Option<Retry>,
    /// Time that one attempt may take, such as `30s`.
    timeout: Option<Duration>,
    /// How the call marks the world, where the tool's own class is not the right one.
    effect: Option<Effect>,
}

/// Cases, tried from the top.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Switch {
    /// The cases.
    #[schemars(length(min = 1))]
    cases: Vec<Case>,
    /// The nodes to run where no case holds.
    #[schemars(length(min = 1))]
    r#else: Option<Vec<Node>>,
}

/// A case of a `switch`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Case {
    /// Its condition.
    when: Condition,
    /// Its nodes.
    #[schemars(length(min = 1))]
    r#do: Vec<Node>,
}

/// Branches that run side by side.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Parallel {
    /// The nodes of each branch, by the branch's name.
    #[schemars(length(min = 1))]
    branches: BTreeMap<String, Vec<Node>>,
}

/// Nodes that run once for each item of a list. The output is the list of the items' outputs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Map {
    /// The items: a list, or an expression that gives one.
    items: Items,
    /// The name of the item in expressions; `item` unless said otherwise. `index` is its number from 0.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"), length(min = 1, max = 128))]
    r#as: Option<String>,
    /// The nodes.
    #[schemars(length(min = 1))]
    r#do: Vec<Node>,
    /// Items in work at once; 16 unless said otherwise.
    #[schemars(range(min = 1, max = 1024))]
    concurrency: Option<u32>,
    /// What an item's failure means: `stop` (the default), or `collect` it beside the other items' outputs.
    on_item_error: Option<OnItemError>,
}

/// A list, or an expression that gives one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Items {
    List(Vec<Value>),
    Expression(String),
}

/// What an item's failure means.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum OnItemError {
    /// No new items; the map fails.
    Stop,
    /// The output has `{status, output}` or `{status, error}` for each item.
    Collect,
}

/// Nodes that run again and again: a number of `times`, `while` a condition holds, or `until` one does.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = one_mode(), "dependentRequired" = bounded()))]
pub(super) struct Loop {
    /// How often.
    times: Option<Times>,
    /// Goes on while this holds, asked before each iteration. Needs `max`.
    r#while: Option<Condition>,
    /// Ends when this holds, asked after each iteration; sees the iteration's steps. Needs `max`.
    until: Option<Condition>,
    /// The nodes. `loop.index` is the iteration from 0, `loop.last` the output of the one before.
    #[schemars(length(min = 1))]
    r#do: Vec<Node>,
    /// Iterations after which it fails.
    #[schemars(range(min = 1, max = 1_000_000))]
    max: Option<u64>,
    /// Whether its output is the list of all outputs instead of the last.
    collect: Option<bool>,
}

/// The ways in which a loop ends, as in [`Loop`].
pub(super) const MODES: &[&str] = &["times", "while", "until"];

fn one_mode() -> Value {
    MODES.iter().map(|mode| serde_json::json!({ "required": [mode] })).collect()
}

/// What asks a condition must say when it ends at the latest.
fn bounded() -> Value {
    serde_json::json!({ "while": ["max"], "until": ["max"] })
}

/// A number, or an expression that gives one.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Times {
    Number(#[schemars(range(min = 0, max = 1_000_000))] u64),
    Expression(String),
}

/// A duration or an expression that gives one; also in the long form `{for: 5s}`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Sleep {
    Span(String),
    Long(LongSleep),
}

/// The long form of `sleep`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct LongSleep {
    /// A duration such as `5s`, or an expression that gives one.
    r#for: String,
}

/// A wait for a signal.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Wait {
    /// The name of the signal.
    #[schemars(length(min = 1, max = 128))]
    signal: String,
    /// Time after which the node fails with WAIT_TIMEOUT.
    timeout: Option<Duration>,
}

/// A question to a person. The node fails with APPROVAL_DENIED where the answer is no.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Approval {
    /// The id of a later tool node of the same list: exactly that call is approved.
    of: Option<String>,
    /// The question; may hold expressions.
    message: Option<String>,
    /// What is shown beside the question, any value with expressions.
    show: Option<Value>,
    /// Who may answer; without it, anybody.
    roles: Option<Vec<String>>,
    /// How many different people must say yes; 1 unless said otherwise. One no is enough.
    #[schemars(range(min = 1, max = 16))]
    quorum: Option<u32>,
    /// Time after which the node fails with APPROVAL_EXPIRED.
    expires: Option<Duration>,
}

/// Checks on a value. Score = 100 × weight of the checks that hold / weight of all; the node fails with
/// VERIFICATION_FAILED below `min_score`, or where the value does not fit `schema`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = checks_something()))]
pub(super) struct Verify {
    /// The value, with expressions.
    value: Value,
    /// JSON Schema (2020-12) that the value must fit.
    schema: Option<BTreeMap<String, Value>>,
    /// Weighted checks.
    #[schemars(length(min = 1))]
    checks: Option<Vec<Check>>,
    /// The score that must be reached, 0 to 100; 100 unless said otherwise.
    #[schemars(range(min = 0.0, max = 100.0))]
    min_score: Option<f64>,
}

fn checks_something() -> Value {
    serde_json::json!([{ "required": ["schema"] }, { "required": ["checks"] }])
}

/// A weighted check.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Check {
    /// Its name, for reports.
    #[schemars(length(min = 1, max = 128))]
    name: String,
    /// What must hold; `value` is the value that is verified.
    that: Condition,
    /// Its weight, above 0; 1 unless said otherwise.
    #[schemars(range(min = 0.0))]
    weight: Option<f64>,
}

/// A child run of another flow, or of the same.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Child {
    /// The flow's file, by its path from the folder of this one.
    #[schemars(length(min = 1, max = 128))]
    file: String,
    /// The input of the child, any value with expressions; `{}` unless said otherwise.
    input: Option<Value>,
    /// Whether the child goes on by itself: the node completes at once with `{run}`, and nothing cancels the child.
    detached: Option<bool>,
}

/// The end of this run and the start of the next.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Continue {
    /// The input of the next run, any value with expressions; `{}` unless said otherwise.
    input: Option<Value>,
}
