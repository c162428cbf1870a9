//! A run over the ranks of a world, from the library: its numbers are those of one process, and what differs between ranks is told.

use std::thread;

use stagger::transport::{World, world};
use stagger::{Error, Interrupt, Run, Training, TrainingOptions};

use crate::support::{interrupting, noise, snapshotting};

fn training<'a>(salt: usize) -> Training<'a> {
    Training::new()
        .dataset(noise(salt))
        .batch_size(8)
        .epochs(4)
        .learning_rate(0.01)
}

/// Runs `lead` as rank 0, and `follow` as each of the others.
pub fn over(
    ranks: usize,
    lead: impl FnOnce(World) -> Result<Run, Error>,
    follow: impl Fn(World) -> Result<(), Error> + Sync,
) -> Result<Run, Error> {
    let mut worlds = world::in_process(ranks).into_iter();
    let first = worlds.next().unwrap();
    thread::scope(|scope| {
        let follow = &follow;
        let followers: Vec<_> = worlds
            .map(|world| scope.spawn(move || follow(world)))
            .collect();
        let run = lead(first);
        for follower in followers {
            follower.join().unwrap().expect("followers end in peace");
        }
        run
    })
}

#[test]
fn ranks_give_the_numbers_of_one_process() {
    for (schedule, stages, ranks) in [
        ("dsp + predict", None, 3),
        ("pipedream + look-ahead", Some(3), 2),
        ("gpipe(2)", Some(4), 2),
    ] {
        let of = |stages: Option<usize>| {
            let training = training(0).schedule(schedule);
            match stages {
                Some(stages) => training.stages(stages),
                None => training,
            }
        };
        // What a follower was told itself does not matter.
        let follow = |world| training(0).world(world).epochs(77).seed(5).follow();
        let shared = over(ranks, |world| of(stages).world(world).run(), follow).unwrap();
        let alone = of(Some(stages.unwrap_or(ranks))).run().unwrap();
        assert_eq!(shared.title, alone.title);
        assert_eq!(shared.loss(), alone.loss());
        assert_eq!(shared.best, alone.best);
        assert!(
            shared.weights().unwrap() == alone.weights().unwrap(),
            "{schedule}"
        );
    }
}

#[test]
fn a_run_that_was_halted_resumes_on_another_number_of_ranks() {
    let bench = tempfile::tempdir().unwrap();
    let whole = |folder: &str| {
        let folder = bench.path().join(folder);
        training(0)
            .epochs(20)
            .schedule("dsp")
            .stages(3)
            .output(folder)
    };
    let follow = |world| training(0).world(world).follow();
    let halted = |world| {
        let interrupt = Interrupt::new();
        whole("run")
            .dataset(interrupting(1, interrupt.clone()))
            .interrupt(interrupt)
            .world(world)
            .run()
    };
    assert!(over(3, halted, follow).unwrap().interrupted);
    let resume = |world| {
        Training::new()
            .dataset(noise(0))
            .resume(bench.path().join("run"))
            .world(world)
            .run()
    };
    let resumed = over(2, resume, follow).unwrap();
    let alone = whole("alone").run().unwrap();
    assert_eq!(resumed.version, alone.version);
    assert!(resumed.weights().unwrap() == alone.weights().unwrap());
}

#[test]
fn a_rank_with_other_data_is_named() {
    let follow = |world: World| {
        let salt = usize::from(world.rank() == 2);
        training(salt).world(world).follow()
    };
    let error = over(3, |world| training(0).world(world).run(), follow).expect_err("refused");
    assert!(error.is_refusal());
    let sentence = error.to_string();
    assert!(sentence.starts_with("rank 2 on "), "{sentence}");
    assert!(
        sentence.contains("has another training set than rank 0: tiny "),
        "{sentence}"
    );
}

#[test]
fn a_rank_that_cannot_is_named() {
    let bench = tempfile::tempdir().unwrap();
    let folder = bench.path().join("run");
    let follow = |world: World| {
        // A data set that is not there.
        let training = match world.rank() {
            1 => Training::new(),
            _ => training(0),
        };
        training.world(world).follow()
    };
    let lead = |world| training(0).world(world).output(&folder).run();
    let error = over(2, lead, follow).expect_err("refused");
    assert!(error.to_string().starts_with("rank 1 on "), "{error}");
    assert!(!folder.exists(), "nothing is written");
}

#[test]
fn fewer_stages_than_ranks_are_refused() {
    let follow = |world| training(0).world(world).follow();
    for (stages, ranks, sentence) in [
        (
            2,
            3,
            "2 stages cannot be shared out over 3 processes: start 2 of them, or ask for at least 3 stages",
        ),
        (
            1,
            2,
            "1 stage cannot be shared out over 2 processes: start 1 of them, or ask for at least 2 stages",
        ),
    ] {
        let lead = |world| training(0).stages(stages).world(world).run();
        let error = over(ranks, lead, follow).expect_err("refused");
        assert_eq!(error.to_string(), sentence);
    }
    let options = TrainingOptions {
        replicas: Some(vec![2]),
        batch_size: Some(16),
        ..TrainingOptions::default()
    };
    let lead = |world| {
        let training = training(0).stages(1).options(options);
        training.world(world).run()
    };
    assert_eq!(
        over(3, lead, follow).expect_err("refused").to_string(),
        "1 stage with 2 replicas makes 2 in all, which cannot be shared out over 3 processes: start 2 of them at most, or ask for more \
         replicas"
    );
}

/// A resumed run cannot be given more stages, so that is no advice.
#[test]
fn a_resumed_run_is_refused_on_more_ranks_than_it_has_stages() {
    let bench = tempfile::tempdir().unwrap();
    let folder = bench.path().join("run");
    let interrupt = Interrupt::new();
    let halted = training(0)
        .epochs(20)
        .stages(2)
        .output(&folder)
        .dataset(interrupting(1, interrupt.clone()))
        .interrupt(interrupt)
        .run();
    assert!(halted.unwrap().interrupted);
    let resume = |world| {
        let training = Training::new().dataset(noise(0)).resume(&folder);
        training.world(world).run()
    };
    let follow = |world| training(0).world(world).follow();
    assert_eq!(
        over(3, resume, follow).expect_err("refused").to_string(),
        "the run has 2 stages, which cannot be shared out over 3 processes: start 2 of them at most"
    );
}

#[test]
fn the_transport_between_ranks_is_no_choice() {
    let follow = |world| training(0).world(world).follow();
    let over = |transport: &str| {
        let options = TrainingOptions {
            transport: Some(transport.to_owned()),
            ..TrainingOptions::default()
        };
        let lead = |world| training(0).options(options).world(world).run();
        over(2, lead, follow)
    };
    // Stages of one rank would have it, and it is the default.
    over("threads").expect("the default");
    let bytes = over("bytes").expect_err("refused").to_string();
    assert_eq!(
        bytes,
        "transport bytes connects stages of one process, and this run has 2 processes; leave it out"
    );
    let unknown = over("tcp").expect_err("refused").to_string();
    // `bytes` would be no advice.
    assert_eq!(unknown, "`transport` `tcp` is no choice; use `threads`");
}

/// Without a request, snapshots are of the ends of epochs.
#[test]
fn a_rank_that_is_asked_for_a_snapshot_asks_rank_0() {
    let bench = tempfile::tempdir().unwrap();
    let folder = bench.path().join("run");
    let asked = Interrupt::new();
    let follow = |world: World| {
        let training = training(0).interrupt(asked.clone());
        training.world(world).follow()
    };
    let lead = |world| {
        let options = TrainingOptions {
            keep_snapshots: Some(100),
            ..TrainingOptions::default()
        };
        training(0)
            .options(options)
            .batch_size(2)
            .dataset(snapshotting(asked.clone()))
            .output(&folder)
            .world(world)
            .run()
    };
    over(2, lead, follow).unwrap();
    let snapshots = std::fs::read_dir(folder.join("snapshots")).unwrap();
    let versions: Vec<usize> = snapshots
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_start_matches('v').parse().unwrap())
        .collect();
    assert!(
        versions.iter().any(|version| version % 10 > 0),
        "{versions:?}"
    );
}

#[test]
fn a_rank_that_was_started_with_another_command_line_is_named() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let over = |others: Option<&'static str>| {
        // What such a rank could not do is not what is wrong with it.
        let follow = |world: World| match others {
            Some(line) if world.rank() == 2 => {
                let training = Training::new().command_line(words(line));
                training.world(world).follow()
            }
            _ => {
                let training = training(0).command_line(words("train --lr 0.01"));
                training.world(world).follow()
            }
        };
        let lead = |world| {
            let training = training(0).command_line(words("train --lr 0.01"));
            training.world(world).run()
        };
        over(3, lead, follow)
    };
    over(None).expect("the same on all ranks");
    for (line, sentence) in [
        (
            "train --lr 0.02",
            "was started with --lr 0.02 where rank 0 has --lr 0.01",
        ),
        ("profile", "runs stagger profile, and rank 0 stagger train"),
    ] {
        let error = over(Some(line)).expect_err("refused");
        assert!(error.is_refusal());
        let found = error.to_string();
        assert!(found.starts_with("rank 2 on "), "{found}");
        assert!(found.contains(sentence), "{found}");
    }
}
