//! A method that is added the way CONTRIBUTING says: one type, and everything follows.

use crate::drawn;
use std::sync::Arc;

use proptest::prelude::*;
use stagger_schedule::{
    Facts, Horizon, Interpreter, Lock, Method, Relation, Schedule, StagePolicy, delayed_policy,
    explain,
};

/// Stage 0 is `slack` batches ahead of its backward passes, and all others of one less each, down
/// to 0. Its graphs are kept, with the weights of the forward pass.
#[derive(Debug)]
struct Lazy {
    stages: usize,
    slack: usize,
}

impl Method for Lazy {
    fn name(&self) -> &'static str {
        "lazy"
    }

    fn title(&self) -> &'static str {
        "A toy with a slack"
    }

    fn notation(&self) -> String {
        format!("lazy({})", self.slack)
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        if stage + 1 == self.stages {
            return 0;
        }
        self.slack.saturating_sub(stage)
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        delayed_policy(self, stage, micro_batches).stashed()
    }

    fn meaning(&self) -> String {
        "Whatever comes up can wait.".to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        vec![Relation::new(
            "pipedream",
            "Never waits longer than it has to.",
        )]
    }
}

fn lazy(stages: usize, slack: usize) -> Schedule {
    let method: Arc<dyn Method> = Arc::new(Lazy { stages, slack });
    Schedule::from(method)
}

#[test]
fn it_is_a_schedule_like_any_other() {
    let schedule = lazy(3, 3);
    assert_eq!(schedule.to_string(), "lazy(3)");
    let program: Vec<_> = schedule
        .program(1, &Horizon::of(4))
        .map(|action| action.to_string())
        .collect();
    assert_eq!(program.join(" "), "F0 F1 F2 B0 U0 F3 B1 U1 B2 U2 B3 U3");
    let facts = Facts::of(&schedule);
    let copies: Vec<_> = facts
        .stages
        .iter()
        .map(|stage| stage.weight_copies)
        .collect();
    assert_eq!(copies, [4, 3, 1]);
    assert_eq!(facts.locks.forward, Lock::PartlyHeld(vec![0]));
    assert!((facts.ideal_speedup - 3.0).abs() < 0.02);
}

#[test]
fn it_is_explained() {
    let text = explain(&lazy(3, 3), 6);
    assert!(
        text.starts_with("lazy(3): A toy with a slack on 3 stages\n"),
        "{text}"
    );
    assert!(text.contains("Whatever comes up can wait."), "{text}");
    assert!(text.contains("Never waits longer"), "{text}");
    assert!(text.contains("stashed until then"), "{text}");
}

proptest! {
    #[test]
    fn it_runs_in_any_order(
        stages in 1..6_usize, slack in 0..8_usize, horizon in drawn::horizon(), seed: u64,
    ) {
        let schedule = lazy(stages, slack);
        let run = Interpreter::with_order(&schedule, &horizon, drawn::chooser(seed));
        let actions = run.collect::<Result<Vec<_>, _>>().unwrap();
        let expected: usize =
            drawn::programs(&schedule, &horizon).iter().map(|program| program.len()).sum();
        prop_assert_eq!(actions.len(), expected);
    }
}
