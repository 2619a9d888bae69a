//! Flows for the simulated world; together they have every node kind and the hard turns between them.

pub(crate) const ALL: &[(&str, &str)] = &[
    ("effects", EFFECTS),
    ("routes", ROUTES),
    ("bodies", BODIES),
    ("people", PEOPLE),
    ("trouble", TROUBLE),
    ("large", LARGE),
    ("stopping", STOPPING),
    ("saga", SAGA),
    ("probing", PROBING),
    ("sharing", SHARING),
    ("sharing again", SHARING_AGAIN),
    ("budget", BUDGET),
];

const EFFECTS: &str = r#"
flow: effects
nodes:
  - id: look
    tool: sim.read
    with: { n: 1 }
  - id: put
    tool: sim.idempotent
    with: { n: "{{ steps.look.output.echo.n }}" }
  - id: pay
    tool: sim.irreversible
    with: { n: 3 }
  - id: think
    tool: sim.pure
    with: { sum: "{{ steps.put.output.echo.n + steps.pay.output.echo.n }}" }
  - id: send
    tool: sim.irreversible
    with: { n: 4 }
output: "{{ [steps.put.output, steps.pay.output, steps.think.output.echo.sum, steps.send.status] }}"
"#;

const ROUTES: &str = r#"
flow: routes
vars: { tries: 0 }
nodes:
  - id: count
    set: { tries: "{{ vars.tries + 1 }}" }
  - id: call
    tool: sim.idempotent
    with: { n: "{{ vars.tries }}" }
    next: [{ when: "{{ vars.tries < 3 }}", to: count }]
  - id: turn
    tool: sim.pure
    with: { n: turn }
    next: [{ when: "{{ input.late }}", to: late }]
  - id: usual
    tool: sim.pure
    with: { n: usual }
  - id: late
    tool: sim.irreversible
    with: { n: late }
  - id: pick
    after: [usual, late]
    switch:
      cases:
        - when: "{{ vars.tries == 3 }}"
          do:
            - { id: three, tool: sim.irreversible, with: { n: three } }
      else:
        - { id: other, tool: sim.pure, with: { n: other } }
output: { tries: $vars.tries, visit: "{{ steps.call.visit }}", pick: $steps.pick.output, late: "{{ steps.late.status }}" }
"#;

const BODIES: &str = r#"
flow: bodies
nodes:
  - id: items
    map:
      items: [1, 2, 3, 4, 5, 6, 7]
      as: n
      concurrency: 3
      do:
        - { id: put, tool: sim.idempotent, with: { n: $n, index: $index } }
        - { id: pay, tool: sim.irreversible, with: { n: "{{ steps.put.output.echo.n * 10 }}" } }
  - id: sides
    parallel:
      branches:
        left: [{ id: a, tool: sim.irreversible, with: { n: left } }]
        right:
          - { id: a, sleep: 2s }
          - { id: b, tool: sim.read, with: { n: right } }
  - id: again
    loop:
      times: 4
      collect: true
      do:
        - { id: one, tool: sim.irreversible, with: { n: "{{ loop.index }}" } }
  - id: until
    loop:
      until: "{{ steps.n.output.echo.n >= 2 }}"
      max: 5
      do:
        - { id: n, tool: sim.pure, with: { n: "{{ loop.index }}" } }
output: { items: $steps.items.output, sides: $steps.sides.output, again: $steps.again.output, until: $steps.until.output }
"#;

const PEOPLE: &str = r#"
flow: people
nodes:
  - id: ask
    approval: { of: pay, message: "Pay?" }
  - id: pay
    tool: sim.irreversible
    with: { amount: 40 }
  - id: hear
    wait: { signal: news }
  - id: nap
    sleep: 1h
  - id: judge
    verify:
      value: $steps.hear.output
      checks: [{ name: right, that: "{{ value.answer == 42 }}", weight: 1 }]
      min_score: 80
output: { granted: "{{ steps.ask.output.granted }}", heard: $steps.hear.output, score: $steps.judge.output.score }
"#;

const TROUBLE: &str = r#"
flow: trouble
nodes:
  - id: flaky
    tool: sim.read
    with: { fail: { code: RATE_LIMIT, times: 2 } }
  - id: lost
    tool: sim.idempotent
    with: { fail: { code: NETWORK_ERROR, times: 1, certain: false } }
  - id: never
    tool: sim.read
    with: { fail: { code: NOT_FOUND } }
    on_error: continue
  - id: routed
    tool: sim.irreversible
    with: { fail: { code: CONFLICT } }
    on_error: rescue
  - id: skipped
    tool: sim.irreversible
    with: { n: never }
  - id: rescue
    tool: sim.irreversible
    with: { n: rescue }
  - id: doubt
    after: [rescue, skipped]
    tool: sim.irreversible
    with: { fail: { code: UNAVAILABLE, times: 1, certain: false } }
  - id: some
    map:
      items: [1, 0, 2]
      as: n
      on_item_error: collect
      do:
        - { id: half, tool: sim.pure, with: { n: "{{ 4 // n }}" } }
output: { flaky: $steps.flaky.status, lost: $steps.lost.status, never: $steps.never.error.code, rescue: $steps.rescue.status, some: $steps.some.output, doubt: $steps.doubt.status }
"#;

const LARGE: &str = r#"
flow: large
nodes:
  - id: big
    tool: sim.big
    with: {}
  - id: size
    tool: sim.irreversible
    with: { length: "{{ steps.big.output.text | length }}" }
  - id: each
    map:
      items: $steps.big.output.items
      do:
        - { id: put, tool: sim.idempotent, with: { n: $item, text: $steps.big.output.text } }
output: { size: $steps.size.output, each: "{{ steps.each.output | length }}", all: $steps.each.output }
"#;

/// Everything that is done is undone, but for the compensation that always fails.
const SAGA: &str = r"
flow: saga
nodes:
  - id: book
    tool: sim.irreversible
    with: { n: 1 }
    compensate: { tool: sim.read, with: { fail: { code: NOT_FOUND } } }
  - id: seats
    map:
      items: [1, 2]
      do:
        - id: take
          tool: sim.idempotent
          with: { n: $item }
          compensate: { tool: sim.irreversible, with: { free: $steps.take.output.echo.n } }
  - id: lost
    tool: sim.irreversible
    with: { fail: { code: NETWORK_ERROR, times: 1, certain: false } }
    compensate:
      tool: sim.irreversible
      with: { fail: { code: UNAVAILABLE, times: 1, certain: false }, undo: lost }
  - { id: no, tool: sim.pure, with: { fail: { code: CONFLICT } } }
";

const STOPPING: &str = r"
flow: stopping
nodes:
  - id: both
    parallel:
      branches:
        fails: [{ id: no, tool: sim.pure, with: { fail: { code: NOT_FOUND } } }]
        pays:
          - { id: pay, tool: sim.irreversible, with: { n: 1 } }
          - { id: nap, sleep: 1h }
          - { id: more, tool: sim.irreversible, with: { n: 2 } }
  - id: after
    tool: sim.irreversible
    with: { n: 3 }
";

const PROBING: &str = r#"
flow: probing
nodes:
  - id: items
    map:
      items: [1, 2, 3, 4]
      as: n
      do:
        - id: pay
          tool: sim.irreversible
          with: { n: $n }
          effect: reconcilable
          probe: &looks
            tool: sim.look
            with: { key: $effect.key }
            done: "{{ probe.output.found }}"
            not_done: "{{ not probe.output.found }}"
            output: $probe.output.output
          retry: { max_attempts: 100 }
  - id: lost
    tool: sim.irreversible
    with: { fail: { code: NETWORK_ERROR, times: 1, certain: false } }
    effect: reconcilable
    probe: *looks
    timeout: 1s
    retry: { max_attempts: 100 }
  - id: used_up
    tool: sim.idempotent
    with: { fail: { code: NETWORK_ERROR, certain: false } }
    on_unknown: probe
    probe: *looks
output: { items: $steps.items.output, lost: $steps.lost.output, used_up: $steps.used_up.output }
"#;

const SHARING: &str = r"
flow: sharing
nodes:
  - id: items
    map:
      items: [1, 2, 1, 2, 1]
      as: n
      do:
        - id: pay
          tool: sim.irreversible
          with: { shared: $n }
          idempotency: { scope: tenant }
  - id: look
    tool: sim.read
    with: { shared: look }
    idempotency: { scope: tenant }
output: { items: $steps.items.output, look: $steps.look.output }
";

const SHARING_AGAIN: &str = r#"
flow: sharing_again
nodes:
  - id: pay
    tool: sim.irreversible
    with: { shared: 1 }
    idempotency: { scope: tenant }
  - id: sides
    after: []
    map:
      items: [2, 3]
      as: n
      do:
        - id: pay
          tool: sim.irreversible
          with: { shared: $n }
          effect: reconcilable
          probe:
            tool: sim.look
            with: { key: $effect.key }
            done: "{{ probe.output.found }}"
            not_done: "{{ not probe.output.found }}"
            output: $probe.output.output
          retry: { max_attempts: 100 }
          idempotency: { scope: tenant }
output: { pay: $steps.pay.output, sides: $steps.sides.output }
"#;

/// Every limit is passed several times, and somebody always grants more.
const BUDGET: &str = r#"
flow: budget
budget: { usd: 0.50, tokens: 30, tool_calls: 4, steps: 9, on_exceeded: ask }
nodes:
  - id: items
    budget: { usd: 0.30, tool_calls: 3, on_exceeded: ask }
    map:
      items: [1, 2, 3, 4, 5, 6]
      as: n
      concurrency: 3
      do:
        - id: put
          tool: sim.idempotent
          with: { n: $n, index: $index }
          cost: { usd: 0.10, tokens: 20, actual: { usd: 0.05, tokens: "{{ output.echo.n }}" } }
        - { id: pay, tool: sim.irreversible, with: { n: "{{ steps.put.output.echo.n * 10 }}" }, cost: { usd: 0.20 } }
  - id: dear
    tool: sim.irreversible
    with: { n: dear }
    cost: { usd: 1000 }
    on_budget: cheap
  - { id: cheap, tool: sim.read, with: { n: cheap }, cost: { usd: 0.01 } }
output: "{{ [steps.items.output | length, steps.dear.status, steps.cheap.output.echo.n] }}"
"#;
