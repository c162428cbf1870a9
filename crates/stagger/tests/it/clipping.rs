//! Gradient clipping: by the norm of all stages where they wait for each other, with the same bits however the network is cut, and over
//! ranks; else stage by stage.

use stagger::engine::StageState;
use stagger::{Training, TrainingOptions};

use crate::ranks::over;
use crate::support::noise;

/// Below the norms that these runs have.
const LIMIT: f64 = 0.5;

fn training<'a>(schedule: &str, limit: Option<f64>, replicas: Option<usize>) -> Training<'a> {
    let options = TrainingOptions {
        clip_norm: limit,
        replicas: replicas.map(|count| vec![count]),
        sync_batch_norm: replicas.map(|_| true),
        ..TrainingOptions::default()
    };
    Training::new()
        .dataset(noise(0))
        .options(options)
        .schedule(schedule)
        .batch_size(10)
        .epochs(2)
        .learning_rate(0.02)
}

fn weights(schedule: &str, stages: usize, limit: Option<f64>) -> StageState {
    let run = training(schedule, limit, None).stages(stages).run();
    run.unwrap().weights().unwrap()
}

#[test]
fn the_norm_is_that_of_the_whole_network_however_it_is_cut() {
    for [method, same] in [["bp", "bp"], ["gpipe(2)", "1f1b(2)"], ["gpipe(2)", "zb(2)"]] {
        let one = weights(method, 1, Some(LIMIT));
        assert!(one != weights(method, 1, None), "{method} is not clipped");
        for stages in 2..=4 {
            let several = weights(same, stages, Some(LIMIT));
            assert!(several == one, "{same} on {stages} stages");
        }
    }
    let accumulated = weights("bp + accumulate(2)", 1, Some(LIMIT));
    assert!(accumulated == weights("bp + accumulate(2)", 3, Some(LIMIT)));
}

/// A limit above all norms changes nothing, not even a bit.
#[test]
fn a_small_gradient_stays_as_it_is() {
    assert!(weights("bp", 3, Some(1e6)) == weights("bp", 3, None));
}

#[test]
fn ranks_clip_as_one_process_does() {
    for (schedule, stages, ranks) in [("bp", 3, 3), ("1f1b(2)", 4, 2), ("dsp", 2, 2)] {
        let follow = |world| training("bp", None, None).world(world).follow();
        let lead = |world| {
            let training = training(schedule, Some(LIMIT), None);
            training.stages(stages).world(world).run()
        };
        let shared = over(ranks, lead, follow).unwrap();
        let alone = weights(schedule, stages, Some(LIMIT));
        assert!(shared.weights().unwrap() == alone, "{schedule}");
    }
}

/// To rounding: gradients of replicas are added up in another order.
#[test]
fn replicas_clip_by_the_norm_of_their_sum() {
    let one = weights("bp", 2, Some(LIMIT));
    let run = training("bp", Some(LIMIT), Some(2)).stages(2).run();
    let found = run.unwrap().weights().unwrap();
    let unclipped = weights("bp", 2, None);
    let off = |state: &StageState| {
        let pairs = one.tensors.iter().flat_map(|(name, tensor)| {
            let other = &state.tensors[name].data;
            tensor.data.iter().zip(other)
        });
        let off = pairs.map(|(one, other)| (one - other).abs());
        off.fold(0.0, f32::max)
    };
    assert!(off(&found) < 1e-4, "off by {}", off(&found));
    assert!(off(&unclipped) > 1e-3, "off by {}", off(&unclipped));
}

/// A run says that it clips stage by stage; one that clips by the norm of all stages has nothing to say.
#[test]
fn a_run_says_where_stages_clip_on_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for (schedule, is_said) in [("dsp", true), ("bp", false)] {
        let output = folder.path().join(schedule);
        let training = training(schedule, Some(LIMIT), None).stages(2);
        training.output(&output).run().unwrap();
        let log = std::fs::read_to_string(output.join("run.log")).unwrap();
        let line = "clipping: each stage clips its own gradient to the norm 0.5, as dsp";
        assert_eq!(log.contains(line), is_said, "{log}");
    }
}
