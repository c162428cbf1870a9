//! An engine and a device of each stage.

use stagger::{Error, Training, TrainingOptions};

use crate::support::noise;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

/// A run of these engines: one for all stages, or one for each.
fn training<'a>(engines: &[&str]) -> Training<'a> {
    let options = match engines {
        [all] => TrainingOptions {
            engine: Some((*all).to_owned()),
            ..TrainingOptions::default()
        },
        each => TrainingOptions {
            engines: Some(names(each)),
            stages: Some(each.len()),
            ..TrainingOptions::default()
        },
    };
    Training::new()
        .dataset(noise(0))
        .options(options)
        .schedule("dsp")
        .batch_size(8)
        .epochs(3)
        .learning_rate(0.01)
}

fn config(folder: &std::path::Path) -> String {
    let text = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    // Without its own path and the checksum.
    let is_config = |line: &&str| !line.starts_with("output") && !line.starts_with('#');
    let lines = text.lines().filter(is_config);
    lines.collect::<Vec<_>>().join("\n")
}

/// Names that are all the same say what one name says: the same run, and the same words in its folder.
#[test]
fn engines_that_are_all_the_same_are_one() {
    let bench = tempfile::tempdir().unwrap();
    let folder = |name: &str| bench.path().join(name);
    let one = training(&["cpu"]).output(folder("one")).run().unwrap();
    let devices = TrainingOptions {
        devices: Some(names(&["cpu", "cpu"])),
        ..TrainingOptions::default()
    };
    let each = training(&["cpu", "cpu"]).options(devices);
    let each = each.output(folder("each")).run().unwrap();
    assert_eq!(one.title, each.title);
    assert!(one.weights().unwrap() == each.weights().unwrap());
    assert_eq!(config(&folder("one")), config(&folder("each")));
    assert!(config(&folder("one")).contains("engine = \"cpu\""));
    // A run may be resumed in other words.
    let resumed = training(&["cpu", "cpu"])
        .resume(folder("one"))
        .run()
        .unwrap();
    assert_eq!(resumed.version, one.version);
}

/// What is said later takes the place of what was said before, whichever of the two options says it.
#[test]
fn engine_and_engines_replace_each_other() {
    let of = |engine: Option<&str>, engines: Option<&[&str]>| TrainingOptions {
        engine: engine.map(str::to_owned),
        engines: engines.map(names),
        ..TrainingOptions::default()
    };
    let (one, each) = (of(Some("cpu"), None), of(None, Some(&["cpu", "torch"])));
    assert_eq!(one.clone().or(each.clone()), one);
    assert_eq!(each.clone().or(one.clone()), each);
    assert_eq!(of(None, None).or(each.clone()), each);
    let both = of(Some("cpu"), Some(&["cpu", "cpu"]));
    let refused = Training::new().options(both).check().expect_err("both");
    assert_eq!(
        refused.to_string(),
        "`engine` and `engines` exclude each other; use one of them"
    );
}

#[test]
fn devices_are_named_by_stage_or_by_replica() {
    let of = |devices: &[&str]| -> Result<(), Error> {
        let options = TrainingOptions {
            devices: Some(names(devices)),
            replicas: Some(vec![2, 1]),
            ..TrainingOptions::default()
        };
        training(&["cpu", "cpu"]).options(options).check().map(drop)
    };
    of(&["cpu"; 2]).unwrap();
    of(&["cpu"; 3]).unwrap();
    for (count, named) in [(1, "1 device"), (4, "4 devices")] {
        assert_eq!(
            of(&vec!["cpu"; count])
                .expect_err("a wrong count")
                .to_string(),
            format!(
                "`devices` names {named}; name one per stage (2) or one per replica of each stage (3)"
            )
        );
    }
    // The third place is stage 1.
    let refused = of(&["cpu", "cpu", "cuda:0"])
        .expect_err("no GPU")
        .to_string();
    assert!(
        refused.starts_with("`devices` names cuda:0 for stage 1, and engine cpu, which runs that stage, has no device but cpu"),
        "{refused}"
    );
}

#[cfg(feature = "torch")]
mod torch {
    use stagger::engine::StageState;
    use stagger::transport::World;
    use stagger::{Interrupt, Run, TrainingOptions};

    use super::{names, training};
    use crate::ranks::over;
    use crate::support::{interrupting, noise};
    use stagger::Training;

    /// The largest difference of two states, beside the largest of their values.
    fn difference(one: &StageState, other: &StageState) -> f32 {
        assert!(one.tensors.keys().eq(other.tensors.keys()));
        let (mut difference, mut largest) = (0_f32, 0_f32);
        for (name, tensor) in &one.tensors {
            let pairs = tensor.data.iter().zip(&other.tensors[name].data);
            for (a, b) in pairs {
                difference = difference.max((a - b).abs());
                largest = largest.max(a.abs());
            }
        }
        difference / largest
    }

    fn weights(run: &Run) -> StageState {
        run.weights().unwrap()
    }

    #[test]
    fn two_engines_give_the_numbers_of_one_to_rounding() {
        for engines in [["cpu", "torch", "cpu"], ["torch", "cpu", "torch"]] {
            for schedule in ["dsp", "pipedream + gap-aware", "gpipe(2)", "dni"] {
                let of = |engines: &[&str]| {
                    // Engines estimate the times of blocks differently, and would cut the model differently.
                    let cut = TrainingOptions {
                        balance: Some("1,2,2".to_owned()),
                        ..TrainingOptions::default()
                    };
                    let training = training(engines).options(cut).schedule(schedule);
                    training.stages(3).max_batches(4).run().unwrap()
                };
                let mixed = of(&engines);
                for one in ["cpu", "torch"] {
                    let found = difference(&weights(&mixed), &weights(&of(&[one])));
                    assert!(found < 1e-3, "{engines:?}, {schedule}: {found} from {one}");
                }
                assert!(
                    weights(&mixed) != weights(&of(&["cpu"])),
                    "it is not the same engine"
                );
                assert!(
                    weights(&mixed) == weights(&of(&engines)),
                    "{engines:?}, {schedule}"
                );
            }
        }
    }

    /// One engine for all, however it is said: not a stage goes another way.
    #[test]
    fn torch_for_every_stage_is_engine_torch() {
        let one = training(&["torch"]).run().unwrap();
        let each = training(&["torch", "torch"]).run().unwrap();
        assert_eq!(one.title, each.title);
        assert!(weights(&one) == weights(&each));
    }

    #[test]
    fn a_mixed_run_says_so_and_resumes_to_the_bit() {
        for (schedule, replicas) in [
            ("dsp + predict", None),
            ("pipedream", None),
            ("dsp", Some(vec![2])),
        ] {
            let bench = tempfile::tempdir().unwrap();
            let folder = bench.path().join("run");
            let whole = || {
                let options = TrainingOptions {
                    replicas: replicas.clone(),
                    ..TrainingOptions::default()
                };
                training(&["torch", "cpu"])
                    .options(options)
                    .schedule(schedule)
                    .epochs(12)
            };
            let interrupt = Interrupt::new();
            let halted = whole()
                .dataset(interrupting(3, interrupt.clone()))
                .interrupt(interrupt)
                .output(&folder)
                .run()
                .unwrap();
            assert!(halted.interrupted);
            let snapshots = std::fs::read_dir(folder.join("snapshots")).unwrap();
            let one = snapshots.flatten().next().unwrap().path();
            let manifest = std::fs::read_to_string(one.join("manifest.json")).unwrap();
            assert!(manifest.contains("\"engine\": \"torch,cpu\""), "{manifest}");
            let log = std::fs::read_to_string(folder.join("run.log")).unwrap();
            assert!(log.contains("· engines torch,cpu ·"), "{log}");
            for (said, now) in [(&["cpu"][..], "engine"), (&["cpu", "torch"], "engines")] {
                let other = training(said).schedule(schedule).resume(&folder);
                let refused = other.run().expect_err("another engine").to_string();
                assert!(refused.starts_with(&format!("`{now}` was ")), "{refused}");
            }
            let resumed = Training::new()
                .dataset(noise(0))
                .resume(&folder)
                .run()
                .unwrap();
            let alone = whole().run().unwrap();
            assert_eq!(resumed.version, alone.version);
            assert!(weights(&resumed) == weights(&alone), "{schedule}");
        }
    }

    /// Images of one channel, whose memory has the order of rows and the engine's order at once.
    #[test]
    fn engine_torch_resumes_to_the_bit_on_images_of_one_channel() {
        let bench = tempfile::tempdir().unwrap();
        let folder = bench.path().join("run");
        let whole = || training(&["torch"]).epochs(12);
        let interrupt = Interrupt::new();
        let halted = whole()
            .dataset(interrupting(3, interrupt.clone()))
            .interrupt(interrupt)
            .output(&folder)
            .run()
            .unwrap();
        assert!(halted.interrupted);
        let resumed = Training::new().dataset(noise(0)).resume(&folder).run();
        assert!(weights(&resumed.unwrap()) == weights(&whole().run().unwrap()));
    }

    #[test]
    fn ranks_give_the_numbers_of_one_process() {
        let bench = tempfile::tempdir().unwrap();
        let follow = |world: World| Training::new().dataset(noise(0)).world(world).follow();
        for (engines, replicas, ranks) in [
            (&["cpu", "torch"][..], vec![1], 2),
            (&["torch", "cpu", "torch"], vec![1], 2),
            (&["torch", "cpu"], vec![2, 1], 3),
        ] {
            let of = || {
                let options = TrainingOptions {
                    replicas: Some(replicas.clone()),
                    threads_per_stage: Some(1),
                    ..TrainingOptions::default()
                };
                training(engines).options(options)
            };
            let shared = over(ranks, |world| of().world(world).run(), follow).unwrap();
            let alone = of().run().unwrap();
            assert_eq!(shared.title, alone.title);
            assert!(weights(&shared) == weights(&alone), "{engines:?}");
        }
        // Every rank measures each of its engines.
        let profile = |world| {
            let options = TrainingOptions {
                balance: Some("profile".to_owned()),
                ..TrainingOptions::default()
            };
            let training = training(&["cpu", "torch", "cpu"]).options(options);
            training.output(bench.path().join("run")).world(world).run()
        };
        over(2, profile, follow).unwrap();
        let log = std::fs::read_to_string(bench.path().join("run/run.log")).unwrap();
        assert!(log.contains("balance profile: blocks "), "{log}");
    }

    /// A device is looked for where its stage is, and nowhere else.
    #[test]
    fn the_rank_that_lacks_a_device_is_named() {
        let follow = |world: World| Training::new().dataset(noise(0)).world(world).follow();
        let refused = |devices: &[&str]| {
            let bench = tempfile::tempdir().unwrap();
            let folder = bench.path().join("run");
            let options = TrainingOptions {
                devices: Some(names(devices)),
                ..TrainingOptions::default()
            };
            let lead = |world| {
                let training = training(&["torch", "torch"]).options(options);
                training.world(world).output(&folder).run()
            };
            let error = over(2, lead, follow).expect_err("a device that is not there");
            assert!(error.is_refusal());
            assert!(!folder.exists(), "nothing is written");
            error.to_string()
        };
        let of_rank_1 = refused(&["cpu", "cuda:99"]);
        assert!(of_rank_1.starts_with("rank 1 on "), "{of_rank_1}");
        assert!(
            of_rank_1.contains(": --devices: ")
                && of_rank_1.contains("device cuda:99 is not there"),
            "{of_rank_1}"
        );
        let of_rank_0 = refused(&["cuda:99", "cpu"]);
        assert!(of_rank_0.starts_with("`devices`: "), "{of_rank_0}");
    }

    #[test]
    fn what_does_not_suit_is_refused() {
        let of = |devices: &[&str], replicas: Vec<usize>, dtype: Option<&str>| {
            let options = TrainingOptions {
                devices: (!devices.is_empty()).then(|| names(devices)),
                replicas: Some(replicas),
                dtype: dtype.map(str::to_owned),
                ..TrainingOptions::default()
            };
            let checked = training(&["cpu", "torch"]).options(options).check();
            checked.expect_err("refused").to_string()
        };
        assert_eq!(
            of(&[], vec![1], Some("bf16")),
            "`dtype` bf16 is a format of all stages, and engine cpu, which runs stage 0, computes in f32; use f32, or engine torch for all stages"
        );
        assert_eq!(
            of(&["cpu", "cpu", "cuda:0"], vec![1, 2], None),
            "`devices` has replicas of stage 1 on cpu and on cuda:0, whose updates round differently, so that their weights would no longer be the same; name devices of one kind for a stage"
        );
    }
}
