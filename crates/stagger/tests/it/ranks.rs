//! A run over the ranks of a world, from the library: its numbers are those of one process, and what differs between ranks is told.

use std::thread;

use stagger::transport::{World, world};
use stagger::{Error, Interrupt, Run, Training};

use crate::support::{interrupting, noise};

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
    let lead = |world| training(0).stages(2).world(world).run();
    let error = over(3, lead, follow).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "2 stages cannot be shared out over 3 processes: start 2 of them, or ask for at least 3 stages"
    );
}
