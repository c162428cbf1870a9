//! Profiles that are measured from the library, in one process and over the ranks of a world.

use std::thread;

use stagger::plan::{Distribution, Profile};
use stagger::profiling::{Profiled, Profiling};
use stagger::transport::world;
use stagger::{Error, Interrupt, TrainingOptions};

fn profiling(schedule: &str) -> Profiling {
    Profiling {
        options: TrainingOptions {
            model: Some("resnet8".to_owned()),
            batch_size: Some(8),
            lr: Some(0.01),
            schedule: Some(schedule.to_owned()),
            ..TrainingOptions::default()
        },
        shape: [1, 8, 8],
        classes: 10,
        rounds: 2,
        batches: 3,
        warmup: 1,
        commit: None,
        command_line: None,
    }
}

/// Measures over so many ranks in this process.
fn over(ranks: usize, profiling: &Profiling) -> Result<Profiled, Error> {
    let mut worlds = world::in_process(ranks).into_iter();
    let first = worlds.next().unwrap();
    thread::scope(|scope| {
        let followers: Vec<_> = worlds
            .map(|world| scope.spawn(move || profiling.follow(&world, &Interrupt::new())))
            .collect();
        let measured = profiling.run(Some(first));
        for follower in followers {
            follower.join().unwrap().expect("followers end in peace");
        }
        measured
    })
}

fn samples(time: &Distribution) -> usize {
    match time {
        Distribution::Samples(samples) => samples.len(),
        _ => 0,
    }
}

#[test]
fn every_rank_measures_its_own_stages_and_hops() {
    let measured = over(3, &profiling("dsp")).unwrap();
    let Profile {
        devices,
        links,
        stages,
        ..
    } = &measured.profile;
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names.len(), 3);
    for (rank, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("cpu on rank {rank} (")), "{name}");
    }
    assert_ne!(devices[0].forward, devices[1].forward);
    assert_eq!(links.len(), 2);
    for link in links {
        assert!(samples(&link.latency) > 0);
        assert!(link.latency.mean() > 0.0);
    }
    let whole = stages.as_ref().unwrap();
    assert_eq!(whole.cut, measured.job.cut.sizes());
    assert_eq!(whole.times.len(), 3);
    for times in &whole.times {
        for time in [
            &times.forward,
            &times.recompute,
            &times.backward,
            &times.update,
        ] {
            assert_eq!(samples(time), 3);
        }
    }
    assert!(
        measured.notes[2].starts_with("rank 2 on "),
        "{:?}",
        measured.notes
    );
    let json = measured.profile.to_json().unwrap();
    assert_eq!(Profile::from_json(&json).unwrap(), measured.profile);
}

#[test]
fn ranks_have_stages_of_more_than_one() {
    let more = Profiling {
        options: TrainingOptions {
            stages: Some(4),
            balance: Some("uniform".to_owned()),
            ..profiling("").options
        },
        ..profiling("")
    };
    let more = Profiling {
        options: TrainingOptions {
            schedule: Some("gpipe(2)".to_owned()),
            ..more.options
        },
        ..more
    };
    let measured = over(2, &more).unwrap();
    assert_eq!(
        (measured.profile.devices.len(), measured.profile.links.len()),
        (4, 3)
    );
    // Stages of one rank share a measurement.
    let devices = &measured.profile.devices;
    assert_eq!(devices[0], devices[1]);
    assert_eq!(measured.profile.stages.unwrap().cut, [2, 1, 1, 1]);
}

#[test]
fn what_is_wrong_lets_all_ranks_go() {
    let refused = over(2, &profiling("nonsense")).unwrap_err();
    assert!(refused.to_string().contains("nonsense"), "{refused}");
    let many = Profiling {
        options: TrainingOptions {
            stages: Some(2),
            ..profiling("dsp").options
        },
        ..profiling("dsp")
    };
    let refused = over(3, &many).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("cannot be shared out over 3 processes"),
        "{refused}"
    );
}

/// What computed is known to those who cut by the profile.
#[test]
fn a_profile_says_what_it_was_measured_with() {
    let one = profiling("dsp");
    let with_threads = Profiling {
        options: TrainingOptions {
            threads_per_stage: Some(2),
            winograd: Some(false),
            ..one.options.clone()
        },
        ..one
    };
    let measured = with_threads.run(None).unwrap();
    let device = &measured.profile.devices[0];
    assert_eq!(
        (device.engine.as_deref(), device.threads, device.winograd),
        (Some("cpu"), Some(2), Some(false))
    );
}

/// What each method does is measured; a stage that learns from gradients does so, too.
#[test]
fn any_method_is_measured() {
    for (schedule, balance, learns) in [
        ("bp", "uniform", false),
        ("pipedream", "auto", false),
        ("dni", "3,2", true),
        ("dp(2)", "profile", false),
    ] {
        let one = profiling(schedule);
        let measured = Profiling {
            options: TrainingOptions {
                balance: Some(balance.to_owned()),
                transport: (schedule == "bp").then(|| "bytes".to_owned()),
                ..one.options.clone()
            },
            ..one
        };
        let measured = measured.run(None).unwrap();
        let whole = measured.profile.stages.unwrap();
        let has_learnt = samples(&whole.times[0].learn) > 0;
        assert_eq!(has_learnt, learns, "{schedule}");
        let own = &measured.forecasts[0];
        for other in &measured.forecasts[1..] {
            assert!(own.slowest() <= other.slowest(), "{schedule}: {other:?}");
        }
    }
}
