//! What events say beside the numbers: gaps and delays.

use std::time::Duration;

use crate::support::{ToyStage, feeds, plan};
use stagger_runtime::{Acted, Event, Plan, sequential};
use stagger_schedule::Action;

fn events(plan: &Plan) -> Vec<Event> {
    let mut events = Vec::new();
    let build = ToyStage::build;
    sequential::run(plan, build, feeds(), |event| {
        events.push(event);
        Ok(())
    })
    .expect("the run succeeds");
    events
}

/// Stage, batch and gap of every backward.
fn gaps(plan: &Plan) -> Vec<(usize, usize, Option<f64>)> {
    let of_backward = |event: &Event| match *event {
        Event::Acted(Acted {
            stage,
            action: Action::Backward { batch, .. },
            gap,
            ..
        }) => Some((stage, batch, gap)),
        _ => None,
    };
    events(plan).iter().filter_map(of_backward).collect()
}

#[test]
fn gaps_are_measured_of_every_nth_batch_where_something_is_stale() {
    let plan = Plan {
        gap_every: 3,
        ..plan("dsp", 3, 10, &[])
    };
    for (stage, batch, gap) in gaps(&plan) {
        let expected = stage < 2 && batch % 3 == 2;
        assert_eq!(gap.is_some(), expected, "stage {stage}, batch {batch}");
        if let Some(gap) = gap {
            assert!(
                gap > 0.0 && gap < 1.0,
                "stage {stage}, batch {batch}: {gap}"
            );
        }
    }
}

#[test]
fn the_lower_the_stage_the_larger_its_gap_with_the_same_steps() {
    // One stage's steps, stale by 1 and by 4: more updates lie between the passes.
    let mean = |schedule: &str| {
        let plan = Plan {
            gap_every: 1,
            ..plan(schedule, 2, 40, &[])
        };
        let of_first: Vec<f64> = gaps(&plan).iter().filter_map(|&(_, _, gap)| gap).collect();
        of_first.iter().sum::<f64>() / of_first.len() as f64
    };
    assert!(mean("dsp(m=4,0)") > 1.5 * mean("dsp(m=1,0)"));
}

/// A prediction is nearer to where the weights come to be; the gap of two buffers is that of an update, on every stage.
#[test]
fn the_gap_is_taken_from_the_weights_of_the_forward() {
    let mean = |schedule: &str, of: usize| {
        let plan = Plan {
            gap_every: 1,
            ..plan(schedule, 2, 40, &[])
        };
        let all = gaps(&plan).into_iter();
        let found: Vec<f64> = all
            .filter(|gap| gap.0 == of)
            .filter_map(|gap| gap.2)
            .collect();
        found.iter().sum::<f64>() / found.len() as f64
    };
    assert!(mean("dsp + predict", 0) < 0.9 * mean("dsp", 0));
    assert!(mean("2bw(2)", 1) > 0.0);
}

#[test]
fn nothing_is_measured_unasked_or_without_staleness() {
    assert!(
        gaps(&plan("dsp", 2, 5, &[]))
            .iter()
            .all(|gap| gap.2.is_none())
    );
    let bp = Plan {
        gap_every: 1,
        ..plan("bp", 2, 5, &[])
    };
    assert!(gaps(&bp).iter().all(|gap| gap.2.is_none()));
}

#[test]
fn a_straggler_is_delayed_by_its_share_of_each_computation() {
    let mut plan = plan("dsp", 2, 6, &[]);
    plan.stragglers = vec!["stage=1,slowdown=300%".parse().expect("a straggler")];
    let mut delays = [Duration::ZERO; 2];
    for event in events(&plan) {
        if let Event::Acted(acted) = event {
            delays[acted.stage] += acted.delayed;
            // The sleep lies within the action, after a computation of a third of it.
            assert!(acted.lasted() >= acted.delayed + acted.delayed / 3);
        }
    }
    assert_eq!(delays[0], Duration::ZERO);
    assert!(delays[1] > Duration::ZERO);
}
