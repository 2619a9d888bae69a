//! Every limit of the runtime, in one place; `aura doctor` prints them.
//!
//! Crossing a limit gives a typed, recorded outcome: never a hang and never an unbounded heap.

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $ty:ty = $value:expr, $label:literal;)*) => {
        $($(#[$doc])* pub const $name: $ty = $value;)*

        /// Name, value and meaning of every limit, in the order of this file.
        pub fn all() -> Vec<(&'static str, u64, &'static str)> {
            vec![$((stringify!($name), $value as u64, $label)),*]
        }
    };
}

limits! {
    /// Bytes of a flow file.
    FLOW_FILE_BYTES: usize = 1 << 20, "bytes of a flow file";
    /// Nodes of a flow, bodies included.
    FLOW_NODES: usize = 2_000, "nodes of a flow";
    /// Bodies within bodies, and values within values, of a flow file.
    FLOW_NESTING: usize = 16, "nested bodies of a flow";
    /// Nested collections in any YAML or JSON value of a flow file.
    VALUE_NESTING: usize = 64, "nested collections of a value";
    /// Scalars and collections of a flow file after its aliases are expanded.
    FLOW_VALUES: usize = 100_000, "values of a flow file, aliases expanded";
    /// Problems reported for one file.
    FLOW_PROBLEMS: usize = 100, "problems reported for one flow file";
    /// Items of a map node.
    MAP_ITEMS: usize = 100_000, "items of a map";
    /// Items of a map in work at once.
    MAP_CONCURRENCY: u32 = 1_024, "items of a map in work at once";
    /// Iterations of a loop node.
    LOOP_ITERATIONS: u64 = 1_000_000, "iterations of a loop";
    /// Visits of one node through backward `next`, unless the node says less.
    VISITS: u32 = 100, "visits of one node";
    /// Steps of a run.
    RUN_STEPS: u64 = 1_000_000, "steps of a run";
    /// Bytes of a rendered value.
    VALUE_BYTES: usize = 1 << 20, "bytes of a rendered value";
    /// Bytes above which a payload becomes a blob.
    INLINE_BYTES: usize = 64 << 10, "bytes above which a payload becomes a blob";
    /// Bytes up to which a blob may lie in the store's table.
    BLOB_TABLE_BYTES: usize = 4 << 20, "bytes of a blob kept in the store's table";
    /// Bytes of a blob.
    BLOB_BYTES: usize = 64 << 20, "bytes of a blob";
    /// Bytes of an outcome; what is longer is cut and marked.
    OUTCOME_BYTES: usize = 16 << 20, "bytes of an outcome";
    /// Steps of an expression's evaluation.
    EXPRESSION_FUEL: u64 = 100_000, "steps of an expression";
    /// Labels of a run.
    LABELS: usize = 16, "labels of a run";
    /// Bytes of a name: node id, flow, label, signal, key.
    NAME_BYTES: usize = 128, "bytes of a name";
    /// Bytes of a message kept in an error.
    MESSAGE_BYTES: usize = 4_096, "bytes of an error message";
    /// Events of a commit.
    COMMIT_EVENTS: usize = 4_096, "events of a commit";
    /// Bytes of a commit's payload.
    COMMIT_BYTES: usize = 16 << 20, "bytes of a commit";
    /// Transitions of a turn; more go on in a turn of their own.
    TURN_TRANSITIONS: usize = 256, "transitions of a turn";
    /// Bytes of values that a turn makes; more go on in a turn of their own.
    TURN_BYTES: usize = 4 << 20, "bytes of values made in a turn";
    /// Open tasks about which one input asks.
    UNKNOWN_STEPS: usize = 512, "open tasks asked about in one input";
    /// Inputs that a shard drains in one step.
    SHARD_DRAIN: usize = 256, "inputs drained in one step of a shard";
    /// Inputs waiting for a shard.
    SHARD_QUEUE: usize = 65_536, "inputs waiting for a shard";
    /// Commits that a shard with nothing else to do makes durable on its own thread.
    ALONE_COMMITS: usize = 32, "commits made durable on the shard's own thread";
    /// Bundles of which a shard remembers that the store has them.
    BUNDLES_KNOWN: usize = 4_096, "bundles known to be in the store";
    /// Milliseconds after which a bundle is handed to the store again (1 hour).
    BUNDLE_KEPT_MS: u64 = 3_600_000, "milliseconds a bundle is known to be in the store";
    /// Commits that the writer appends as one group.
    GROUP_COMMITS: usize = 4_096, "commits appended as one group";
    /// Bytes of payload that the writer appends as one group.
    GROUP_BYTES: usize = 32 << 20, "bytes appended as one group";
    /// Times that one input may ask for blobs before its run is set aside.
    BLOB_ASKS: u32 = 64, "times one input may ask for blobs";
    /// Commits of a shard that are not durable yet.
    UNDURABLE_COMMITS: usize = 16_384, "commits not yet durable";
    /// Bytes of a shard's commits that are not durable yet.
    UNDURABLE_BYTES: usize = 64 << 20, "bytes not yet durable";
    /// Bytes of a run's events after which a snapshot of it is taken, unless its last one was longer.
    SNAPSHOT_EVERY_BYTES: usize = 256 << 10, "bytes of events between snapshots";
    /// Bytes of a snapshot; a run with more state is folded from its events.
    SNAPSHOT_BYTES: usize = 64 << 20, "bytes of a snapshot";
    /// Snapshots that wait to be written; while there are more, none is taken.
    SNAPSHOT_QUEUE: usize = 16, "snapshots waiting to be written";
    /// Milliseconds that a blob is kept although nothing names it (24 hours).
    ORPHAN_MS: u64 = 86_400_000, "milliseconds a blob is kept that nothing names";
    /// Blobs looked at in one sweep, in the table and as files each.
    SWEEP_BLOBS: usize = 1_000_000, "blobs looked at in one sweep";
    /// Bytes of a line of an export.
    EXPORT_LINE_BYTES: usize = 256 << 20, "bytes of a line of an export";
    /// Bytes of the file that names the runs that came from a copy before they had ended.
    RESTORED_BYTES: usize = 128 << 20, "bytes of the list of restored runs";
    /// Bytes of what a backup says about itself.
    BACKUP_BYTES: usize = 64 << 10, "bytes of what a backup says about itself";
    /// Bytes of the file of a deployed version: its texts as JSON.
    DEPLOYED_BYTES: usize = 256 << 20, "bytes of a deployed version of a flow";
    /// Bytes of blobs that a shard keeps for expressions.
    BLOB_CACHE_BYTES: usize = 64 << 20, "bytes of blobs cached for expressions";
    /// Runs that a shard keeps in memory when they have nothing in work.
    HOT_RUNS: usize = 1_024, "runs kept in memory";
    /// Runs that a process performs when it takes over all that have not ended.
    RECOVERED_RUNS: usize = 1_000_000, "unfinished runs taken over at once";
    /// Effects in flight at once; after a crash at most as many are in doubt.
    SLOTS: usize = 64, "effects in flight at once";
    /// Pure tasks in work at once.
    PURE_TASKS: usize = 64, "pure tasks in work at once";
    /// Recoveries of one task before it parks.
    TASK_RECOVERIES: u32 = 10, "recoveries of one task";
    /// Signals kept by name before their `wait`.
    SIGNALS: usize = 1_000, "signals kept before their wait";
    /// Signal ids remembered for deduplication.
    SIGNAL_IDS: usize = 4_096, "signal ids remembered by a run";
    /// Steps of a run that wait to be compensated should it fail.
    COMPENSATIONS: usize = 100_000, "compensations that a run keeps";
    /// Compensations of a child that its parent takes over when it ends, its own children's included.
    CHILD_COMPENSATIONS: usize = 4_096, "compensations that a child hands to its parent";
    /// Arguments of a compensation of a child above this become a blob, so that many of them fit one commit.
    CHILD_COMPENSATION_INLINE: usize = 1 << 10, "bytes of a child's compensation kept in place";
    /// Steps that could not be compensated, as the end of a run lists them.
    UNCOMPENSATED_LISTED: usize = 100, "uncompensated steps listed at the end of a run";
    /// Largest amount of a budget: a billion dollars in micro-dollars, or as many tokens, steps or calls.
    BUDGET_AMOUNT: u64 = 1_000_000_000_000_000, "micro-dollars, tokens, steps or calls of a budget";
    /// People who must say yes to one approval.
    QUORUM: u32 = 16, "people asked for by one approval";
    /// Forks of forks.
    FORK_DEPTH: usize = 64, "forks of forks";
    /// Values that a fork changes.
    FORK_CHANGES: usize = 64, "values that a fork changes";
    /// Calls that a function may make in one step.
    JOURNAL_CALLS: u64 = 10_000, "calls of a function in one step";
    /// Effects that people settled and that a run remembers, so that the same answer may come twice.
    SETTLED: usize = 1_000, "settled effects remembered by a run";
    /// Runs above a child run.
    CHILD_DEPTH: u32 = 16, "runs above a child run";
    /// Child runs that one run waits for at once.
    OPEN_CHILDREN: usize = 1_024, "child runs of one run in work at once";
    /// Flow files that a run pins beside its own.
    BUNDLE_FLOWS: usize = 64, "flow files pinned beside a run's own";
    /// Runs that a shard takes over in one step.
    SHARD_TAKEN: usize = 1_024, "runs taken over in one step";
    /// Bundles whose flows a shard keeps compiled, beside those that runs in memory follow.
    FLOWS_KEPT: usize = 1_024, "bundles of flows kept compiled";
    /// Messages between runs that a shard passes on in one step.
    SHARD_MESSAGES: usize = 4_096, "messages between runs passed on in one step";
    /// Bytes of a kept signal's payload above which it travels to the next run as a blob.
    SIGNAL_INLINE_BYTES: usize = 8 << 10, "bytes of a travelling signal kept in place";
    /// Tries of a step.
    ATTEMPTS: u32 = 100, "tries of a step";
    /// Milliseconds of an attempt, unless the node says otherwise.
    ATTEMPT_MS: u64 = 60_000, "milliseconds of an attempt";
    /// Milliseconds between two signs of life of an attempt that are recorded.
    HEARTBEAT_PACE_MS: u64 = 1_000, "milliseconds between two recorded heartbeats";
    /// Milliseconds that a node must allow between two signs of life at least.
    HEARTBEAT_MIN_MS: u64 = 2_000, "milliseconds of the shortest heartbeat of a node";
    /// Bytes of what a sign of life tells; what is longer is not told.
    HEARTBEAT_BYTES: usize = 4_096, "bytes of a heartbeat's details";
    /// Milliseconds that a late outcome is awaited after its attempt timed out.
    LATE_OUTCOME_MS: u64 = 30_000, "milliseconds a late outcome is awaited";
    /// Milliseconds within which a call that is idempotent by its key is sent again (23 hours).
    KEY_TTL_MS: u64 = 82_800_000, "milliseconds within which a keyed call is re-sent";
    /// Milliseconds for which a result is given to the same call elsewhere, unless the node says otherwise (24 hours).
    REUSE_MS: u64 = 86_400_000, "milliseconds for which a result is reused";
    /// The longest such time (30 days).
    REUSE_MAX_MS: u64 = 2_592_000_000, "longest time for which a result is reused";
    /// Keys whose time is over that one group of commits sweeps out.
    KEYS_SWEPT: u32 = 64, "outlived keys swept out by one group";
    /// Milliseconds of any duration (10 years).
    DURATION_MAX_MS: u64 = 315_360_000_000, "milliseconds of any duration";
    /// Bytes of one line on the owner's socket.
    SOCKET_LINE_BYTES: usize = 16 << 20, "bytes of a line on the socket";
    /// Clients of the owner's socket at once.
    SOCKET_CLIENTS: usize = 64, "clients of the socket";
    /// Redirects followed by a read.
    HTTP_REDIRECTS: usize = 5, "redirects followed";
    /// Bytes read of an HTTP response body.
    HTTP_BODY_BYTES: usize = 16 << 20, "bytes of an HTTP body";
    /// Headers that a call may send.
    HTTP_HEADERS: usize = 100, "headers sent with an HTTP request";
    /// Addresses of one host that are looked at.
    HTTP_ADDRESSES: usize = 32, "addresses looked at of one host";
    /// Sets of addresses for which open connections are kept.
    HTTP_CLIENTS: usize = 64, "sets of addresses with open connections";
    /// Milliseconds that a `Retry-After` may ask for (24 hours).
    HTTP_RETRY_AFTER_MS: u64 = 86_400_000, "milliseconds that Retry-After may ask for";
    /// Bytes read of a file.
    FILE_BYTES: usize = 16 << 20, "bytes of a file";
    /// Entries listed of a folder.
    FILE_ENTRIES: usize = 10_000, "entries listed of a folder";
    /// Folders within folders that a recursive listing enters.
    FILE_NESTING: usize = 64, "nested folders listed";
    /// Bytes of a text that is split or searched.
    TEXT_BYTES: usize = 4 << 20, "bytes of a text to split or search";
    /// Sections, links, headings or keywords found in one text.
    TEXT_PIECES: usize = 10_000, "pieces found in one text";
    /// Attributes of one HTML tag, as far as they can be told by counting separators.
    HTML_TAG_SEPARATORS: usize = 4_000, "separators within one HTML tag";
    /// Bytes of a PDF file.
    PDF_BYTES: usize = 16 << 20, "bytes of a PDF file";
    /// Pages of a PDF file.
    PDF_PAGES: usize = 2_000, "pages of a PDF file";
    /// Bytes that one compressed stream of a PDF file may unpack to.
    PDF_STREAM_BYTES: usize = 4 << 20, "bytes of an unpacked stream of a PDF";
    /// Bytes that all objects of a PDF file may take in memory.
    PDF_MEMORY_BYTES: usize = 256 << 20, "bytes of a PDF's objects in memory";
    /// Fonts that a PDF file may use.
    PDF_FONTS: usize = 512, "fonts of a PDF file";
    /// Graphics states that a page of a PDF file may save within each other.
    PDF_STATES: usize = 256, "graphics states saved by a PDF page";
    /// Milliseconds in which a PDF file must be read.
    PDF_MS: u64 = 30_000, "milliseconds to read a PDF file";
    /// Bytes of a JSONPath.
    QUERY_BYTES: usize = 1_024, "bytes of a JSONPath";
    /// Nested brackets and parentheses of a JSONPath.
    QUERY_NESTING: usize = 8, "nested brackets of a JSONPath";
    /// Values that a JSONPath may visit, estimated before it runs.
    QUERY_VISITS: u64 = 10_000_000, "values that a JSONPath may visit";
    /// Values that a JSONPath may yield.
    QUERY_MATCHES: usize = 100_000, "values that a JSONPath may yield";
    /// Checks of one verification.
    VERIFY_CHECKS: usize = 1_000, "checks of one verification";
    /// Facts of one run that wait for their like in the other while two runs are compared.
    COMPARE_WINDOW: usize = 10_000, "facts that wait for their like while runs are compared";
    /// Inputs beyond those that were recorded that a backtest gives to a run.
    BACKTEST_INPUTS: usize = 100_000, "inputs of a backtest beyond those that were recorded";
    /// Bytes of large values that a run makes in a backtest.
    BACKTEST_BYTES: u64 = 256 << 20, "bytes of large values made in a backtest";
    /// Things that a backtest lists as needed from outside.
    BACKTEST_NEEDS: usize = 100, "things that a backtest of a run lists as needed";
}
