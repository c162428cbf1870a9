//! Rungs 3 to 7 of the ladder (docs/algorithm.md, "The ladder of correctness") on a network small enough to know everything
//! about.

use std::sync::Arc;

use crate::support::oracle::{Backward, Rule, methods};
use crate::support::{Delays, ToyCargo, ToyStage, Trace, feeds, oracle, plan, toy_weights};
use proptest::prelude::*;
use stagger_runtime::{Interrupt, Plan, sequential, threads};
use stagger_schedule::{Interpreter, Method, Schedule, StagePolicy, delayed_policy};
use stagger_transport::{Bytes, Threads, Transport};

fn run_threads(plan: &Plan, delays: u64) -> Trace {
    run_over(&Delays::over(Threads, delays), plan)
}

fn run_over(transport: &impl Transport<ToyCargo>, plan: &Plan) -> Trace {
    let mut trace = Trace::new(plan.schedule.stages());
    let outcome = threads::run_over(
        transport,
        plan,
        ToyStage::build,
        feeds(),
        &Interrupt::new(),
        |event| trace.take(event),
    );
    assert_eq!(
        outcome.expect("the run succeeds").version,
        plan.horizon.batches
    );
    trace
}

fn run_sequential(plan: &Plan, order: u64) -> Trace {
    let mut trace = Trace::new(plan.schedule.stages());
    let mut state = order;
    let interpreter = Interpreter::with_order(&plan.schedule, &plan.horizon, move |ready| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % ready.len()
    });
    sequential::run_in_order(interpreter, plan, ToyStage::build, feeds(), |event| {
        trace.take(event)
    })
    .expect("the run succeeds");
    trace
}

/// Staleness and queues of a random DSP: per hop, c + b = m_k − m_{k+1}.
fn queues() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    proptest::collection::vec((0usize..3, 0usize..3), 0..6).prop_map(|hops| {
        let c: Vec<usize> = hops.iter().map(|hop| hop.0).chain([0]).collect();
        let mut m = vec![0; hops.len() + 1];
        for (k, (c, b)) in hops.iter().enumerate().rev() {
            m[k] = m[k + 1] + c + b;
        }
        (c, m)
    })
}

fn dsp(c: &[usize], m: &[usize]) -> String {
    let list = |n: &[usize]| n.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    format!("dsp({};{})", list(c), list(m))
}

fn check(trace: &Trace, rule: &Rule, batches: usize, evaluate_at: &[usize]) {
    let reference = oracle::train(rule, batches, evaluate_at);
    assert_eq!(trace.losses, reference.losses);
    assert_eq!(trace.evaluations, reference.evaluations);
    assert_eq!(toy_weights(&trace.states), reference.weights);
}

fn check_against_oracle(trace: &Trace, m: &[usize], batches: usize, evaluate_at: &[usize]) {
    check(trace, &Rule::dsp(m), batches, evaluate_at);
    let expected: Vec<usize> = m
        .iter()
        .map(|&m| m.min(batches.saturating_sub(1)))
        .collect();
    assert_eq!(trace.staleness, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Threads with random delays, and the interpreter in random order, both equal the oracle.
    #[test]
    fn dsp_equals_its_definition(
        (c, m) in queues(),
        batches in 0usize..24,
        marks in proptest::collection::btree_set(0usize..24, 0..4),
        seed in any::<u64>(),
    ) {
        let evaluate_at: Vec<usize> = marks.into_iter().filter(|&n| n <= batches).collect();
        let plan = plan(&dsp(&c, &m), m.len(), batches, &evaluate_at);
        check_against_oracle(&run_threads(&plan, seed), &m, batches, &evaluate_at);
        check_against_oracle(&run_sequential(&plan, seed), &m, batches, &evaluate_at);
    }

    /// BP over K stages, and DSP without staleness, equal the oracle with m = 0.
    #[test]
    fn bp_is_dsp_without_staleness(stages in 1usize..7, batches in 1usize..12, seed in any::<u64>()) {
        let m = vec![0; stages];
        for schedule in ["bp".to_owned(), dsp(&m, &m)] {
            let plan = plan(&schedule, stages, batches, &[0, batches]);
            check_against_oracle(&run_threads(&plan, seed), &m, batches, &[0, batches]);
            check_against_oracle(&run_sequential(&plan, seed), &m, batches, &[0, batches]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Rung 6, and 3, 4 and 7 with it, for every method.
    #[test]
    fn every_method_equals_its_definition(
        stages in 2usize..5,
        micro_batches in 1usize..4,
        batches in 0usize..20,
        seed in any::<u64>(),
    ) {
        for (schedule, rule) in methods(stages, micro_batches) {
            if rule.micro_batches > 3 {
                // The toy's smallest batch has three samples.
                continue;
            }
            let evaluate_at = [0, batches / 2, batches];
            let evaluate_at = &evaluate_at[usize::from(batches < 2)..];
            let evaluate_at = if batches == 0 { &[0][..] } else { evaluate_at };
            let plan = plan(&schedule, stages, batches, evaluate_at);
            println!("{schedule} on {stages} stages");
            check(&run_threads(&plan, seed), &rule, batches, evaluate_at);
            check(&run_sequential(&plan, seed), &rule, batches, evaluate_at);
            check(&run_over(&Delays::over(Bytes::default(), seed), &plan), &rule, batches, evaluate_at);
        }
    }
}

/// A method from outside, as CONTRIBUTING adds one.
#[derive(Debug)]
struct Lazy(usize);

impl Method for Lazy {
    fn name(&self) -> &'static str {
        "lazy"
    }

    fn title(&self) -> &'static str {
        "A toy with a slack"
    }

    fn stages(&self) -> usize {
        self.0
    }

    fn delay(&self, stage: usize) -> usize {
        3 * (self.0 - 1 - stage)
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        delayed_policy(self, stage, micro_batches).stashed()
    }

    fn meaning(&self) -> String {
        "Whatever comes up can wait.".to_owned()
    }
}

#[test]
fn a_method_from_outside_runs_like_any_other() {
    let method: Arc<dyn Method> = Arc::new(Lazy(3));
    let plan = Plan {
        schedule: Schedule::from(method),
        ..plan("bp", 3, 20, &[20])
    };
    let rule = Rule {
        backward: Backward::Stashed,
        ..Rule::dsp(&[6, 3, 0])
    };
    check(&run_threads(&plan, 4), &rule, 20, &[20]);
    check(&run_sequential(&plan, 4), &rule, 20, &[20]);
}

/// The oracle itself would notice: staleness changes the numbers.
#[test]
fn staleness_moves_numbers_and_queues_do_not() {
    let run = |schedule: &str| run_threads(&plan(schedule, 3, 20, &[20]), 1);
    let base = run("dsp(1,1,0;4,2,0)");
    assert_eq!(base, run("dsp(2,0,0;4,2,0)"));
    assert_eq!(base, run("dsp(0,2,0;4,2,0)"));
    assert_ne!(base.losses, run("dsp(1,1,0;3,2,0)").losses);
    assert_ne!(base.losses, run("bp").losses);
}

/// And so does whatever else sets two methods apart.
#[test]
fn no_two_rules_give_the_same_numbers() {
    let rules = methods(3, 2);
    let losses: Vec<_> = rules
        .iter()
        .map(|(_, rule)| oracle::train(rule, 20, &[]).losses)
        .collect();
    // GPipe, 1F1B, ZB and BP with accumulation; PipeDream and DDG.
    let are_twins = |one, other| other < 4 || [one, other] == [4, 5];
    for one in 0..rules.len() {
        for other in one + 1..rules.len() {
            let equal = losses[one] == losses[other];
            let expected = are_twins(one, other);
            assert_eq!(equal, expected, "{} and {}", rules[one].0, rules[other].0);
        }
    }
}
