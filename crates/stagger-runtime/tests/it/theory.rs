//! docs/theory.md, line by line, along runs of the real programs: with a smooth network in `f64`, and with constants that are
//! proven for it on a region of weights that the runs do not leave.
//!
//! A book keeps how close to its bound each line has come.

mod assumptions;
mod constants;
mod means;
mod network;
mod rates;
mod run;
mod setting;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use stagger_plan::theory::Momentum;

use means::Means;
use network::{Vector, Weights, any_batches, any_weights};
use setting::{Setting, any_setting};

const PAGE: &str = include_str!("../../../../docs/theory.md");

/// For each line of the page that was evaluated, the largest share of its bound that was reached. 0 for an equation.
#[derive(Debug, Default)]
struct Book(BTreeMap<usize, f64>);

impl Book {
    /// Checks an inequality, but for rounding.
    #[track_caller]
    fn at_most(&mut self, line: usize, found: f64, bound: f64) {
        let rounding = 1e-12 * (1.0 + found.abs() + bound.abs());
        assert!(
            found <= bound + rounding,
            "docs/theory.md ({line}): {found} is above {bound}"
        );
        let share = self.0.entry(line).or_insert(0.0);
        if bound > 1e-9 {
            *share = share.max(found / bound);
        }
    }

    /// Checks an equation, but for rounding.
    #[track_caller]
    fn equal(&mut self, line: usize, found: &Weights, expected: &Weights) {
        let distance: f64 = network::distances(found, expected).iter().sum();
        let size: f64 = network::norms(expected).iter().sum();
        assert!(
            distance <= 1e-12 * (1.0 + size),
            "docs/theory.md ({line}): {found:?} is not {expected:?}"
        );
        self.0.entry(line).or_insert(0.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_step_keeps_its_lines(
        setting in (1_usize..4).prop_flat_map(|kinds| any_setting(kinds, 0.05..1.0)),
        numbers in proptest::collection::vec(any::<usize>(), 16),
    ) {
        let kinds = setting.batches.len();
        let sequence: Vec<usize> = numbers.iter().map(|number| number % kinds).collect();
        prop_assume!(steps::check(&setting, &sequence, &mut Book::default()));
    }

    /// A long run without noise, or all short ones of two or of three batches.
    #[test]
    fn the_mean_over_all_runs_keeps_the_theorems((setting, length) in any_means(0.05..1.0)) {
        let means = Means::of(&setting, length);
        prop_assume!(means.stay_in_region());
        let book = &mut Book::default();
        means.check_sums(&setting.bounds(), book);
        means.check_theorems(book);
    }

    /// Proven constants are far above what a run meets. With the smallest ones that its versions allow, and at rates at which
    /// runs go astray, a wrong factor shows.
    #[test]
    fn sums_hold_with_the_smallest_constants_at_any_rate(
        (setting, length) in any_means(1.0..300.0),
    ) {
        let means = Means::of(&setting, length);
        means.check_sums(&means.smallest_bounds(), &mut Book::default());
    }

    #[test]
    fn constants_hold_on_their_region(
        setting in any_setting(2, 0.05..1.0),
        away in any_weights(4),
        points in [vector(), vector()],
        along in vector(),
    ) {
        let other = network::moved(&setting.initial, 0.2, &away);
        assumptions::check(&setting, &other, points, &along, &mut Book::default());
    }
}

fn any_means(rates: Range<f64>) -> impl Strategy<Value = (Setting, usize)> {
    prop_oneof![
        (any_setting(1, rates.clone()), Just(60)),
        (any_setting(2, rates.clone()), Just(6)),
        (any_setting(3, rates), Just(4)),
    ]
}

fn vector() -> impl Strategy<Value = Vector> {
    proptest::array::uniform3(-1.0..1.0_f64)
}

/// One setting of three stages.
fn example(staleness: &[usize], beta: f64, kinds: usize, share: f64) -> Setting {
    let mut runner = TestRunner::deterministic();
    let strategy = (any_batches(kinds), any_weights(staleness.len()));
    let tree = strategy.new_tree(&mut runner).expect("a case");
    let (batches, initial) = tree.current();
    let nesterov = 0.0;
    let momentum = Momentum { beta, nesterov };
    Setting::new(staleness.to_vec(), momentum, batches, initial, share)
}

/// (28): PipeDream pulls back at the stashed weights of the forward, so that its gradient is that of the loss at those.
fn check_stashed(setting: &Setting, sequence: &[usize], book: &mut Book) {
    let history = setting.train_by("pipedream", sequence);
    for (n, &batch) in sequence.iter().enumerate() {
        let (weights, stale) = (&history.weights[n], setting.stale(&history, n));
        let expected = network::gradient(&stale, &stale, &setting.batches[batch]);
        book.equal(28, &history.grads[n], &expected);
        assert!(
            setting.constants.cover(weights),
            "a run that leaves the region"
        );
        let bias = network::distances(&setting.gradient(&stale), &setting.gradient(weights));
        let moves = network::distances(weights, &stale);
        let bound = setting.constants.turning.times(&moves);
        book.at_most(28, network::norm(&bias), network::norm(&bound));
    }
}

/// No line of the page is left out.
#[test]
fn every_line_of_the_page_is_evaluated() {
    let (mut book, mut smallest) = (Book::default(), Book::default());
    for beta in [0.0, 0.7] {
        let setting = example(&[4, 2, 0], beta, 2, 1.0);
        let sequence = [0, 1, 1, 0, 0, 1, 0, 1, 1, 0];
        assert!(steps::check(&setting, &sequence, &mut book));
        check_stashed(
            &example(&[2, 1, 0], beta, 2, 1.0),
            &[0, 1, 1, 0, 1, 0],
            &mut book,
        );
        let other = network::moved(&setting.initial, 0.1, &vec![[1.0; network::SIZE]; 3]);
        let points = [[0.5, -0.25, 1.0], [0.25, -0.5, 0.75]];
        assumptions::check(&setting, &other, points, &[1.0, -1.0, 0.5], &mut book);
        for (setting, length) in [(setting, 6), (example(&[4, 2, 0], beta, 1, 1.0), 60)] {
            let means = Means::of(&setting, length);
            assert!(means.stay_in_region());
            means.check_sums(&setting.bounds(), &mut book);
            means.check_theorems(&mut book);
        }
        for (kinds, length) in [(2, 6), (1, 60)] {
            let setting = example(&[4, 2, 0], beta, kinds, 30.0);
            let means = Means::of(&setting, length);
            means.check_sums(&means.smallest_bounds(), &mut smallest);
        }
    }
    for (line, share) in book.0.iter().filter(|(_, share)| **share > 0.0) {
        let smallest = smallest.0.get(line).map(|share| format!("{share:.1e}"));
        println!("({line}) | {share:.1e} | {}", smallest.unwrap_or_default());
    }
    let tags = PAGE.split("\\tag{").skip(1);
    let tags: BTreeSet<usize> = tags
        .map(|rest| rest.split('}').next().unwrap_or_default())
        .map(|number| number.parse().expect("a numbered line"))
        .collect();
    assert_eq!(tags, book.0.keys().copied().collect());
}

/// On the smooth network, with weight decay, the mean gradient falls as (26) says, whatever the staleness.
#[test]
fn the_mean_gradient_falls_with_the_root_of_the_updates() {
    let lengths = [256, 2048, 16_384];
    for beta in [0.0, 0.9] {
        for staleness in [[0, 0, 0], [4, 2, 0], [16, 8, 0]] {
            let setting = example(&staleness, beta, 16, 1.0);
            let means = rates::means(&setting, &lengths);
            let slope = rates::slope(&lengths, &means);
            println!("{beta} | {staleness:?} | {means:.5?} | {slope:.2}");
            assert!(
                slope < -0.4,
                "{means:?} for {staleness:?} and momentum {beta}"
            );
        }
    }
}

/// The lines notice a stale stage that is forgotten, or taken for less stale than it is.
#[test]
fn a_forgotten_stage_breaks_the_lines() {
    let sequence = [0; 20];
    let setting = example(&[3, 2, 0], 0.0, 1, 1.0);
    let history = setting.train(&sequence);
    let (n, step) = (19, |t: usize| {
        network::distances(&history.weights[t + 1], &history.weights[t])
    });
    for stage in 0..2 {
        let mut wrong = setting.clone();
        wrong.staleness[stage] -= 1;
        let at = setting.at(&history, n);
        let path = (n - wrong.staleness[stage]..n).map(|t| step(t)[stage]);
        assert!(at.moves[stage] > path.sum(), "(13) of stage {stage}");
        let expected = &wrong.at(&history, n).grads[0];
        let error = network::distances(&history.grads[n], expected);
        assert!(network::norm(&error) > 1e-9, "(2) of stage {stage}");
    }
    // Only the lowest stage is stale: all of the bias comes from it, also that of the stages above.
    let setting = example(&[3, 0, 0], 0.0, 1, 1.0);
    let at = setting.at(&setting.train(&sequence), n);
    for (stage, bias) in at.bias.iter().enumerate() {
        assert!(*bias > 1e-9, "no bias of stage {stage}");
    }
}
