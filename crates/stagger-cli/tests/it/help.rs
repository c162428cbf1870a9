//! What the binary says about itself.

use crate::support::Bench;

#[test]
fn help_lists_verbs_and_flags() {
    let bench = Bench::new();
    insta::assert_snapshot!("help", bench.stagger("--help").stdout);
    insta::assert_snapshot!("train_help", bench.stagger("train --help").stdout);
    insta::assert_snapshot!("bench_help", bench.stagger("bench --help").stdout);
    insta::assert_snapshot!("profile_help", bench.stagger("profile --help").stdout);
    insta::assert_snapshot!("compare_help", bench.stagger("compare --help").stdout);
    insta::assert_snapshot!("sweep_help", bench.stagger("sweep --help").stdout);
    insta::assert_snapshot!("predict_help", bench.stagger("predict --help").stdout);
    insta::assert_snapshot!("eval_help", bench.stagger("eval --help").stdout);
    insta::assert_snapshot!(
        "data_inspect_help",
        bench.stagger("data inspect --help").stdout
    );
    insta::assert_snapshot!("plan_help", bench.stagger("plan --help").stdout);
    insta::assert_snapshot!("simulate_help", bench.stagger("simulate --help").stdout);
    insta::assert_snapshot!("theory_help", bench.stagger("theory --help").stdout);
    insta::assert_snapshot!("summary_help", bench.stagger("summary --help").stdout);
    insta::assert_snapshot!("explain_help", bench.stagger("explain --help").stdout);
}

#[test]
fn explain_and_summary_print_what_the_libraries_say() {
    let bench = Bench::new();
    let explained = bench.stagger("explain dsp(1,1,0;4,2,0) --batches 8");
    assert_eq!(explained.status, 0, "{}", explained.stderr);
    let schedule = stagger::schedule::Schedule::parse("dsp(1,1,0;4,2,0)", None).unwrap();
    assert_eq!(explained.stdout, stagger::schedule::explain(&schedule, 8));
    // Three stages, where the notation does not say.
    assert_eq!(
        bench.stagger("explain dsp --batches 8").stdout,
        explained.stdout
    );

    let summary = bench.stagger("summary resnet20 --stages 2 --schedule dsp");
    assert_eq!(summary.status, 0, "{}", summary.stderr);
    assert!(summary.stdout.contains("269,722"), "{}", summary.stdout);
}
