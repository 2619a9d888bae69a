//! One suite per port, for every back end.
//!
//! ```ignore
//! aura_testkit::store_conformance!(MyPlace::new());
//! aura_testkit::blobs_conformance!(MyPlace::new());
//! ```
//!
//! makes one named test of each case. A case gets a [`Place`] of its own, opens it, and may close and reopen it.

pub mod blobs;
pub mod build;
pub mod differential;
pub mod keeping;
pub mod store;

use std::sync::Arc;

use aura_core::ports::{Blobs, Store};

/// What is open at a place.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "ports are not Debug")]
pub struct Handles {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its blobs.
    pub blobs: Arc<dyn Blobs>,
}

/// Where a store lies: empty at first, and the same store each time it is opened. The handles of one opening are
/// dropped before the next.
pub trait Place {
    /// Opens it for writing.
    fn open(&self) -> Handles;
}

/// One test for each case of the store's suite; the expression makes a new, empty [`Place`].
#[macro_export]
macro_rules! store_conformance {
    ($place:expr) => {
        mod store_conformance {
            use super::*;

            $crate::conformance_cases! { store, $place;
                what_is_appended_is_read
                bytes_come_back_as_they_were
                reading_starts_at_the_commit_that_holds_the_event
                pages_obey_their_limit
                a_group_is_all_or_nothing
                a_gap_is_refused
                a_duplicate_is_refused
                a_commit_without_events_is_refused
                a_group_may_hold_many_commits_of_a_run
                an_empty_group_changes_nothing
                the_tail_goes_in_log_order
                the_last_row_counts
                runs_are_listed_newest_first
                runs_are_found_by_status_flow_and_label
                runs_are_found_by_their_tree
                runs_are_found_by_the_start_of_their_id
                sizes_are_checked
                blobs_come_with_their_group
                wrong_blobs_are_refused
                keys_come_with_their_group
                everything_is_there_after_reopening
                the_latest_snapshot_is_kept
                a_snapshot_of_no_run_is_not_kept
                too_large_a_snapshot_is_refused
                a_fork_shares_the_beginning_of_its_parent
                forks_of_forks_share_what_their_parents_share
                a_fork_of_nothing_is_refused
                info_counts
                a_sound_store_has_no_faults
                readers_go_on_while_a_writer_appends
            }

            $crate::conformance_cases! { keeping, $place;
                runs_beyond_a_limit_go_whole
                runs_go_however_they_ended
                runs_stay_while_others_need_them
                a_dry_run_removes_nothing
                a_removed_run_may_come_again
                positions_are_given_out_once
                only_blobs_that_nothing_names_are_swept
            }

            #[test]
            fn any_history_is_the_same_as_in_the_model() {
                $crate::conformance::differential::run(|| $place);
            }
        }
    };
}

/// One test for each case of the suite of blobs; the expression makes a new, empty [`Place`].
#[macro_export]
macro_rules! blobs_conformance {
    ($place:expr) => {
        mod blobs_conformance {
            use super::*;

            $crate::conformance_cases! { blobs, $place;
                what_is_put_is_got
                the_address_is_salted
                putting_twice_is_putting_once
                many_may_put_the_same_at_once
                a_blob_that_nobody_put_is_missing
                the_length_belongs_to_the_address
                blobs_of_the_table_are_found_too
                too_large_a_blob_is_refused
                blobs_are_there_after_reopening
            }
        }
    };
}

/// Tests by name: what the two macros above are made of.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($suite:ident, $place:expr; $($case:ident)*) => {
        $(#[test] fn $case() { $crate::conformance::$suite::$case(&$place); })*
    };
}
