//! docs/theory.md, line by line, along runs of the real programs: with a smooth network in `f64`, and with constants that are
//! proven for it on a region of weights that the runs do not leave.
//!
//! A book keeps how close to its bound each line has come.

mod assumptions;
mod constants;
mod means;
mod network;
mod run;
mod setting;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use network::{Vector, Weights, any_batches, any_weights};
use run::Momentum;
use setting::{Setting, any_setting};

const PAGE: &str = include_str!("../../../../docs/theory.md");

/// For each line of the page that was evaluated, the largest share of its bound that was reached. 1 for an equation.
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
        self.0.insert(line, 1.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_step_keeps_its_lines(
        setting in (1_usize..4).prop_flat_map(any_setting),
        numbers in proptest::collection::vec(any::<usize>(), 16),
    ) {
        let kinds = setting.batches.len();
        let sequence: Vec<usize> = numbers.iter().map(|number| number % kinds).collect();
        steps::check(&setting, &sequence, &mut Book::default());
    }

    /// Three runs of a kind: one long one without noise, and all of the short ones of two and of three batches.
    #[test]
    fn the_mean_over_all_runs_keeps_the_theorems(
        (setting, length) in prop_oneof![
            (any_setting(1), Just(60)),
            (any_setting(2), Just(6)),
            (any_setting(3), Just(4)),
        ],
    ) {
        means::check(&setting, length, &mut Book::default());
    }

    #[test]
    fn constants_hold_on_their_region(
        setting in any_setting(2),
        away in any_weights(4),
        points in [vector(), vector()],
        along in vector(),
    ) {
        let other = network::moved(&setting.initial, 0.2, &away);
        assumptions::check(&setting, &other, points, &along, &mut Book::default());
    }
}

fn vector() -> impl Strategy<Value = Vector> {
    proptest::array::uniform3(-1.0..1.0_f64)
}

/// One setting of three stages.
fn example(staleness: &[usize], beta: f64, kinds: usize) -> Setting {
    let mut runner = TestRunner::deterministic();
    let strategy = (any_batches(kinds), any_weights(staleness.len()));
    let tree = strategy.new_tree(&mut runner).expect("a case");
    let (batches, initial) = tree.current();
    let momentum = Momentum {
        beta,
        nesterov: 0.0,
    };
    Setting::new(staleness.to_vec(), momentum, batches, initial, 1.0)
}

/// No line of the page is left out, and none is so far from its bound that it says nothing.
#[test]
fn every_line_of_the_page_is_evaluated() {
    let mut book = Book::default();
    for beta in [0.0, 0.7] {
        let setting = example(&[4, 2, 0], beta, 2);
        steps::check(&setting, &[0, 1, 1, 0, 0, 1, 0, 1, 1, 0], &mut book);
        means::check(&setting, 6, &mut book);
        means::check(&example(&[4, 2, 0], beta, 1), 60, &mut book);
        let other = network::moved(&setting.initial, 0.1, &vec![[1.0; network::SIZE]; 3]);
        let points = [[0.5, -0.25, 1.0], [0.25, -0.5, 0.75]];
        assumptions::check(&setting, &other, points, &[1.0, -1.0, 0.5], &mut book);
    }
    for (line, share) in &book.0 {
        println!("({line}) reaches {share:.2e} of its bound");
    }
    let tags = PAGE.split("\\tag{").skip(1);
    let tags: BTreeSet<usize> = tags
        .map(|rest| rest.split('}').next().unwrap_or_default())
        .map(|number| number.parse().expect("a numbered line"))
        .collect();
    assert_eq!(tags, book.0.keys().copied().collect());
}
