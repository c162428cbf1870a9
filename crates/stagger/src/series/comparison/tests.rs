//! What runs of a comparison have in common, and what is refused.

use super::*;
use crate::refusal::Spelling;

fn compared(methods: &[&str], train: TrainingOptions) -> ComparedMethods {
    ComparedMethods {
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        train,
        ..ComparedMethods::default()
    }
}

fn options(compared: &ComparedMethods, method: &str, slowdown_percent: f64) -> TrainingOptions {
    compared.options(&ComparedRun {
        method: method.to_owned(),
        slowdown_percent,
        seed: 1,
    })
}

#[test]
fn accumulated_batches_count_as_often_as_they_are() {
    let train = TrainingOptions {
        max_batches: Some(10),
        ..TrainingOptions::default()
    };
    let found = compared(&["dsp", "dsp+accumulate(4)"], train);
    let batches = |method| options(&found, method, 0.0).max_batches;
    assert_eq!(
        (batches("dsp"), batches("dsp+accumulate(4)")),
        (Some(10), Some(3))
    );
}

#[test]
fn stages_are_slowed_down_where_a_run_says_it() {
    let own = || vec!["slowdown=50%".to_owned()];
    let train = TrainingOptions {
        straggler: Some(own()),
        ..TrainingOptions::default()
    };
    let found = compared(&["bp"], train);
    assert_eq!(options(&found, "bp", 0.0).straggler, Some(own()));
    let slowed = vec!["stage=*,probability=0.3333,slowdown=12.5%".to_owned()];
    assert_eq!(options(&found, "bp", 12.5).straggler, Some(slowed));
}

#[test]
fn methods_with_replicas_normalise_together() {
    let of = |methods: &[&str], replicas: Option<usize>, method| {
        let train = TrainingOptions {
            sync_batch_norm: Some(true),
            replicas: replicas.map(|replicas| vec![replicas]),
            ..TrainingOptions::default()
        };
        options(&compared(methods, train), method, 0.0).sync_batch_norm
    };
    assert_eq!(of(&["bp", "dp(2)"], None, "dp(2)"), Some(true));
    assert_eq!(of(&["bp", "dp(2)"], None, "bp"), None);
    assert_eq!(of(&["bp", "dp(1)", "dp(2)"], None, "dp(1)"), None);
    for method in ["bp", "dsp"] {
        assert_eq!(of(&["bp", "dsp"], Some(2), method), Some(true));
        // No method has any: the run says so.
        assert_eq!(of(&["bp", "dsp"], None, method), Some(true));
        assert_eq!(of(&["bp", "dsp"], Some(1), method), Some(true));
    }
    let unsaid = compared(&["bp", "dp(2)"], TrainingOptions::default());
    assert_eq!(options(&unsaid, "dp(2)", 0.0).sync_batch_norm, None);
}

#[test]
fn what_makes_no_comparison_is_refused() {
    let usual = || compared(&["bp", "dsp"], TrainingOptions::default());
    let with = |train| compared(&["bp", "dsp"], train);
    let cases = [
        (
            ComparedMethods::default(),
            "`methods` names nothing; name at least one",
        ),
        (
            compared(&["bp", "bp"], TrainingOptions::default()),
            "method `bp` is named twice; name it once, and use `seeds` for several runs",
        ),
        (
            ComparedMethods {
                seeds: vec![3, 3],
                ..usual()
            },
            "`seeds` names 3 twice; every seed is run once",
        ),
        (
            ComparedMethods {
                slowdowns: vec![f64::NAN],
                ..usual()
            },
            "`slowdowns` NaN is no slow-down; give percents from 0 to 10000, as in 0,50,100",
        ),
        (
            ComparedMethods {
                slowdowns: vec![50.0, 50.0],
                ..usual()
            },
            "`slowdowns` names 50 twice; every slow-down is run once",
        ),
        (
            ComparedMethods {
                straggler_probability: Some(0.5),
                ..usual()
            },
            "`straggler_probability` does nothing without slow-downs; add `slowdowns` 0,50,100, or leave it out",
        ),
        (
            ComparedMethods {
                slowdowns: vec![50.0],
                straggler_probability: Some(1.5),
                ..usual()
            },
            "`straggler_probability` 1.5 is not a probability; give a number above 0 and up to 1",
        ),
        (
            ComparedMethods {
                slowdowns: vec![50.0],
                ..with(TrainingOptions {
                    straggler: Some(vec!["slowdown=50%".to_owned()]),
                    ..TrainingOptions::default()
                })
            },
            "`straggler` and `slowdowns` both say how stages are slowed down; give one of them",
        ),
        (
            with(TrainingOptions {
                schedule: Some("bp".to_owned()),
                ..TrainingOptions::default()
            }),
            "`schedule` is of a single run; name it for each run of the comparison with `methods`",
        ),
        (
            with(TrainingOptions {
                output: Some("runs/a".into()),
                ..TrainingOptions::default()
            }),
            "`output` is the folder of a single run; leave it out, and give each run of the comparison one of its own",
        ),
        (
            with(TrainingOptions {
                patience: Some(2),
                ..TrainingOptions::default()
            }),
            "`patience` would end a run before the others, and the runs of a comparison are equally long; leave it out",
        ),
        (
            with(TrainingOptions {
                engines: Some(vec!["cpu".to_owned()]),
                ..TrainingOptions::default()
            }),
            "`engines` names 1 engine, and method `bp` runs on 2 stages; compare methods on one number of stages, or use `engine`",
        ),
    ];
    for (found, expected) in cases {
        let error = found.check().map(drop).expect_err(expected);
        assert!(error.is_refusal());
        assert_eq!(error.sentence(Spelling::Fields), expected);
    }
}

#[test]
fn the_method_that_is_refused_is_named() {
    let train = TrainingOptions {
        optimizer: Some("adamw".to_owned()),
        ..TrainingOptions::default()
    };
    drop(compared(&["bp"], train.clone()).check().unwrap());
    let found = compared(&["bp", "dsp + predict"], train);
    let said = found.check().err().unwrap().sentence(Spelling::Fields);
    assert!(said.starts_with("method `dsp + predict`: "), "{said}");
}
