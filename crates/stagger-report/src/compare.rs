//! Comparisons of methods, read from their run folders.
//!
//! Nothing is measured here: every number comes from the `metrics.jsonl` of a run. [`Comparison::read`] reads and
//! aggregates them; [`main_table`] and [`slowdown_table`] are for people, [`to_csv`] and [`to_json`] for programs,
//! [`to_html`] is a page that needs no network.
//!
//! Aggregation over seeds: the median of rates and times, the mean and standard deviation of accuracies, the maximum of
//! memory and of the largest staleness, the mean of the rest.

mod csv;
mod figures;
mod html;
mod json;
mod method;
mod progress;
mod run;
mod staleness;
mod statistics;
mod table;

#[cfg(test)]
mod fixtures;

pub use csv::to_csv;
pub use html::to_html;
pub use json::to_json;
pub use method::{Comparison, FailedRun, MethodResult, Plan};
pub use progress::{Progress, Trained};
pub use run::{PlannedRun, RunResult, RunState, damage_of_finished, error_file, read_run};
pub use staleness::StageStaleness;
pub use statistics::Spread;
pub(crate) use table::mebibytes;
pub use table::{main_table, slowdown_table};

/// What stands wherever figures of a comparison are shown whose stages slept instead of computing.
#[must_use]
pub fn emulated_note(emulated: &str) -> String {
    let equal = match emulated.starts_with("equal:") {
        true => {
            " The stages of every method take that long for a batch, whatever it computes in it."
        }
        false => "",
    };
    format!(
        "Emulated ({emulated}): stages slept for their durations and learned nothing; rates are those of this runtime with such \
         devices.{equal}"
    )
}

/// A remark on the baselines that stands wherever a comparison is shown.
pub const NO_BARRIERS: &str = "Locks in DDG and FR as published come from a barrier per iteration; in this runtime \
                               there is none, so the baselines run at their best.";
