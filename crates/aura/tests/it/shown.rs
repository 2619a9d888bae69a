//! What commands print, made comparable: times, spans, hashes and folders differ between any two runs.

use crate::support::{Ended, Place};

/// Compares what a command printed with what it printed before.
pub(crate) fn assert_shown(name: &str, place: &Place, ended: &Ended) {
    let dir = place.work();
    let dir = dir.parent().unwrap().display().to_string();
    let text = format!("{}{}", ended.out, ended.err).replace(&dir, "[dir]");
    let filters = [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[time]"),
        (r"\d\d:\d\d:\d\d\.\d{3}", "[clock]"),
        // With the spaces after it, as its width moves the column beside it.
        (r"(\d+ m \d\d s|\d+\.\d s|\d+ ms) *", "[span] "),
        (r"TOOK +", "TOOK  "),
        (r"127\.0\.0\.1:\d+", "[address]"),
        (r"\b[0-9a-f]{64}\b", "[hash]"),
        (r"\b[0-9a-f]{16}\b", "[key]"),
        (r" +\n", "\n"),
    ];
    insta::with_settings!({ filters => filters, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}
