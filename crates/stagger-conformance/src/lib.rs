//! What every engine has to hold, as tests to run for it.
//!
//! An engine's test crate says
//!
//! ```ignore
//! stagger_conformance::conformance!(my_engine::Kernels);
//! stagger_conformance::gradient_checks!(my_engine::Kernels); // where it computes in f64
//! stagger_conformance::ladder_of_correctness!(my_engine::Kernels);
//! ```
//!
//! and gets one test per check. [`Reference`] has the kernels by their definitions, in `f64`: fast kernels are compared with it.
//!
//! A check panics where it fails, as tests do.
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their files themselves"
    )
)]

mod engine;
pub mod fixtures;
mod reference;

pub mod gradients;

#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod cuts;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod halves;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod ladder;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod passes;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod replicas;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod shares;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod states;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod synthesizers;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod updates;
#[allow(missing_docs, reason = "the name of a check says what it checks")]
pub mod weights;

pub use engine::{DoublePrecision, Engine};
pub use reference::{Reference, ReferenceTensor};

/// Makes every check a test of the calling crate, for kernels whose default device is the CPU with one thread.
#[macro_export]
macro_rules! conformance {
    ($kernels:ty) => {
        $crate::conformance!(@module $kernels, cuts: every_cut_starts_from_the_same_weights every_cut_trains_to_the_same_bits same_bits_beside_other_threads a_part_of_the_whole_state_loads_into_a_part_of_the_model blocks_outside_the_model_are_errors);
        $crate::conformance!(@module $kernels, halves: both_halves_have_the_bits_of_the_whole halves_of_several_passes_wait_side_by_side a_pending_half_keeps_the_weights_of_its_graph training_in_halves_leaves_the_same_state a_gradient_of_a_wrong_shape_is_refused_by_the_first_half);
        $crate::conformance!(@module $kernels, passes: record_gives_the_bits_of_forward recompute_gives_the_bits_of_record dropout_is_keyed_by_the_batch_and_absent_in_evaluation running_statistics evaluation_meets_training a_kept_graph_outlives_an_update replaced_weights_are_the_ones_that_run a_detour_over_host_memory_changes_nothing batch_of_one_needs_more_than_one_pixel wrong_shapes_are_errors a_nan_in_the_input_shows_in_the_loss);
        $crate::conformance!(@module $kernels, replicas: shares_normalised_together_are_the_whole_batch a_whole_batch_of_one_value_is_refused);
        $crate::conformance!(@module $kernels, shares: a_share_of_the_loss_scales_its_gradient scaled_gradients_are_a_scaled_learning_rate gradients_and_statistics_cross_as_values scaling_leaves_other_handles_alone mse_loss_by_hand);
        $crate::conformance!(@module $kernels, states: a_stage_goes_on_from_an_imported_state_as_if_nothing_had_happened names_are_pytorchs weights_alone_start_the_optimizer_anew states_that_do_not_fit_are_refused_and_change_nothing);
        $crate::conformance!(@module $kernels, synthesizers: a_synthesizer_learns_a_linear_target);
        $crate::conformance!(@module $kernels, updates: optimizers_by_hand clipping gradients_add_up_until_the_update a_stage_without_parameters_updates_to_nothing training_lowers_the_loss);
        $crate::conformance!(@module $kernels, weights: predictions_follow_the_momentum drift_follows_the_updates a_stage_goes_on_from_imported_drift means_follow_the_weights a_stage_goes_on_from_imported_means drift_that_does_not_fit other_weights_leave_no_trace a_graph_keeps_the_weights_it_was_recorded_with distance_is_that_of_exported_weights what_is_not_kept_cannot_be_asked_for);
    };
    (@module $kernels:ty, $module:ident: $($check:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $check() {
                    $crate::$module::$check::<$kernels>();
                }
            )*
        }
    };
}

/// Makes tests of the gradients of every layer against central differences, for kernels that compute in `f64`.
#[macro_export]
macro_rules! gradient_checks {
    ($kernels:ty) => {
        $crate::conformance!(@module $kernels, gradients: convolutions grouped_convolutions batch_normalisation element_wise
            pools_and_linear residuals concatenations whole_models pool_ties);
    };
}

/// Makes tests of whole runs: every method, on threads and in the interpreter's order, against plain loops and definitions.
#[macro_export]
macro_rules! ladder_of_correctness {
    ($kernels:ty) => {
        $crate::conformance!(@module $kernels, ladder: one_stage_equals_a_plain_loop_and_bp_equals_one_stage dsp_without_staleness_equals_bp queues_do_not_move_numbers_and_staleness_does threads_equal_the_interpreter_whatever_the_delays micro_batches_equal_accumulation_in_a_plain_loop methods_that_are_one_give_the_same_bits every_method_equals_the_interpreter dsp_equals_its_definition_on_a_real_engine);
    };
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use stagger_engine::Precision;

    crate::gradient_checks!(crate::Reference);

    /// What replicas exchange is rounded to single precision; all else is in `f64`.
    #[test]
    fn shares_normalised_together_are_the_whole_batch_in_f64() {
        crate::replicas::shares_are_the_whole::<crate::Reference>(Precision::F64, 1e-5);
    }

    /// A check that the macros leave out would be run for no engine.
    #[test]
    fn the_macros_name_every_check() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let macros = fs::read_to_string(folder.join("lib.rs")).unwrap();
        let named: Vec<&str> = macros
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .collect();
        let mut checks = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() || path.ends_with("fixtures.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                let Some((name, _)) = line
                    .strip_prefix("pub fn ")
                    .and_then(|rest| rest.split_once('<'))
                else {
                    continue;
                };
                checks += 1;
                assert!(
                    named.contains(&name),
                    "{name} of {} is in no macro",
                    path.display()
                );
            }
        }
        assert!(checks > 40, "found {checks} checks");
    }
}
