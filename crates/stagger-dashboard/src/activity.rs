//! What the stages of a run of this process do, from its events.

use std::collections::VecDeque;
use std::time::Duration;

use stagger_runtime::Acted;
use stagger_schedule::{Action, GradientSource, Horizon, Program, Schedule, StagePolicy};

use crate::stage::{StageSeen, most};

/// Length of a part of the time that shares are of, and how many there are.
const PART: Duration = Duration::from_secs(2);
const PARTS: usize = 5;
/// Actions of a program that are passed over to find one that a stage has completed.
const PASSED_OVER: usize = 256;

/// What all stages do.
#[derive(Default)]
pub(crate) struct Activity {
    stages: Vec<StageActivity>,
    micro_batches: usize,
}

struct StageActivity {
    /// What is to come; `None` where the stage does something else than its program says.
    program: Option<Box<dyn Program>>,
    /// What it does now, or waits to do.
    next: Option<Action>,
    policy: StagePolicy,
    /// Micro-batches that it has forwarded and pulled back since the start of the run, where that is known.
    forwarded: Option<usize>,
    pulled: Option<usize>,
    ended_at: Duration,
    parts: VecDeque<Part>,
    gap: Option<f64>,
}

/// Where time went in a part of it.
#[derive(Clone, Copy, Default)]
struct Part {
    number: u128,
    whole: f64,
    busy: f64,
    waits: [f64; 3],
    backwards: usize,
    staleness: usize,
}

impl Activity {
    /// That of a run which starts or resumes at a version.
    pub fn new(schedule: &Schedule, horizon: &Horizon, version: usize) -> Self {
        let stage = |stage| {
            let mut program = schedule.program(stage, horizon);
            if version > 0 {
                program.skip_to(version);
            }
            let known = (version == 0).then_some(0);
            StageActivity {
                next: program.next(),
                program: Some(program),
                policy: schedule.policy(stage),
                forwarded: known,
                pulled: known,
                ended_at: Duration::ZERO,
                parts: VecDeque::new(),
                gap: None,
            }
        };
        Self {
            stages: (0..schedule.stages()).map(stage).collect(),
            micro_batches: schedule.micro_batches().max(1),
        }
    }

    /// Takes what a stage has done.
    pub fn acted(&mut self, acted: &Acted) {
        let micro_batches = self.micro_batches;
        let Some(stage) = self.stages.get_mut(acted.stage) else {
            return;
        };
        stage.advance(acted.action);
        let unit = |batch: usize, micro: usize| Some(batch * micro_batches + micro + 1);
        match acted.action {
            Action::Forward { batch, micro } => stage.forwarded = unit(batch, micro),
            Action::Backward { batch, micro } => stage.pulled = unit(batch, micro),
            Action::Evaluate { .. } | Action::Snapshot { .. } => {
                stage.ended_at = acted.ended_at;
                return;
            }
            _ => {}
        }
        stage.count(acted);
    }

    /// Writes what the stages do to what is seen of them.
    pub fn show(&self, seen: &mut [StageSeen]) {
        for (number, (stage, seen)) in self.stages.iter().zip(seen).enumerate() {
            seen.is_waiting = self.waits(number);
            seen.doing = stage.next.map(|action| self.words(action, seen.is_waiting));
            if stage.next.is_none() && stage.program.is_some() {
                seen.doing = Some("done".to_owned());
            }
            let above = self.stages.get(number + 1);
            seen.up = above.and_then(|above| {
                let sent = stage.forwarded?.checked_sub(above.forwarded?)?;
                let in_work = self.works_on(number + 1, |action| {
                    matches!(action, Action::Forward { .. })
                });
                Some((sent.saturating_sub(in_work), stage.policy.forward_queue))
            });
            // A synthesizer takes gradients at times of its own.
            let waits_for_gradients = stage.policy.gradient == GradientSource::Above;
            seen.down = above.filter(|_| waits_for_gradients).and_then(|above| {
                let sent = above.pulled?.checked_sub(stage.pulled?)?;
                let in_work =
                    self.works_on(number, |action| matches!(action, Action::Backward { .. }));
                Some((sent.saturating_sub(in_work), stage.policy.backward_queue))
            });
            stage.show(seen);
        }
    }

    /// 1 where a stage does something of a kind and does not wait for it.
    fn works_on(&self, stage: usize, is_kind: impl Fn(Action) -> bool) -> usize {
        let next = self.stages.get(stage).and_then(|stage| stage.next);
        usize::from(next.is_some_and(is_kind) && !self.waits(stage))
    }

    /// Whether what a stage is to do next needs something that its neighbour has not made yet.
    fn waits(&self, number: usize) -> bool {
        let Some(stage) = self.stages.get(number) else {
            return false;
        };
        let needed = |batch: usize, micro: usize| batch * self.micro_batches + micro + 1;
        match stage.next {
            Some(Action::Forward { batch, micro }) => {
                let below = number
                    .checked_sub(1)
                    .and_then(|below| self.stages.get(below));
                let made = below.and_then(|below| below.forwarded);
                made.is_some_and(|made| made < needed(batch, micro))
            }
            Some(Action::Backward { batch, micro })
                if stage.policy.gradient == GradientSource::Above =>
            {
                let made = self.stages.get(number + 1).and_then(|above| above.pulled);
                made.is_some_and(|made| made < needed(batch, micro))
            }
            _ => false,
        }
    }

    fn words(&self, action: Action, is_waiting: bool) -> String {
        let of = |batch: usize, micro: usize| match self.micro_batches {
            1 => batch.to_string(),
            _ => format!("{batch}.{micro}"),
        };
        match action {
            Action::Forward { batch, micro } if is_waiting => {
                format!("waits act {}", of(batch, micro))
            }
            Action::Backward { batch, micro } if is_waiting => {
                format!("waits grad {}", of(batch, micro))
            }
            Action::Forward { batch, micro } => format!("forward {}", of(batch, micro)),
            Action::Recompute { batch, micro } => format!("recompute {}", of(batch, micro)),
            Action::Backward { batch, micro } => format!("backward {}", of(batch, micro)),
            Action::WeightGradients { batch, micro } => format!("weights {}", of(batch, micro)),
            Action::Learn { batch, micro } => format!("synthesizer {}", of(batch, micro)),
            Action::Update { version } => format!("update {version}"),
            Action::Evaluate { version } => format!("evaluate at {version}"),
            Action::Snapshot { version } => format!("snapshot at {version}"),
        }
    }
}

impl StageActivity {
    /// Goes on behind an action in the program.
    fn advance(&mut self, done: Action) {
        let Some(program) = &mut self.program else {
            return;
        };
        if self.next == Some(done) {
            self.next = program.next();
            return;
        }
        // Not in the program, such as a snapshot by the clock.
        if matches!(done, Action::Snapshot { .. } | Action::Evaluate { .. }) {
            return;
        }
        for action in program.by_ref().take(PASSED_OVER) {
            if action == done {
                self.next = program.next();
                return;
            }
        }
        (self.program, self.next) = (None, None);
    }

    fn count(&mut self, acted: &Acted) {
        let number = acted.ended_at.as_nanos() / PART.as_nanos();
        if self.parts.back().is_none_or(|part| part.number < number) {
            self.parts.push_back(Part {
                number,
                ..Part::default()
            });
            while self.parts.len() > PARTS {
                self.parts.pop_front();
            }
        }
        let began = self.ended_at.min(acted.started_at);
        self.ended_at = acted.ended_at;
        let Some(part) = self.parts.back_mut() else {
            return;
        };
        let waits = acted.waits;
        part.whole += acted.ended_at.saturating_sub(began).as_secs_f64();
        part.busy += acted.lasted().saturating_sub(waits.total()).as_secs_f64();
        let each = [waits.loader, waits.receive, waits.send];
        for (sum, wait) in part.waits.iter_mut().zip(each) {
            *sum += wait.as_secs_f64();
        }
        if let Some(staleness) = acted.staleness {
            part.backwards += 1;
            part.staleness += staleness;
        }
        self.gap = acted.gap.filter(|gap| gap.is_finite()).or(self.gap);
    }

    fn show(&self, seen: &mut StageSeen) {
        let sum = |of: fn(&Part) -> f64| self.parts.iter().map(of).sum::<f64>();
        let whole = sum(|part| part.whole);
        if whole > 0.0 {
            seen.busy = Some((sum(|part| part.busy) / whole).min(1.0));
            let waits = [
                sum(|part| part.waits[0]),
                sum(|part| part.waits[1]),
                sum(|part| part.waits[2]),
            ];
            seen.waits = most(waits, whole);
        }
        let backwards = sum(|part| part.backwards as f64);
        if backwards > 0.0 {
            seen.staleness = Some(sum(|part| part.staleness as f64) / backwards);
        }
        seen.gap = self.gap.or(seen.gap);
    }
}

#[cfg(test)]
mod tests {
    use stagger_runtime::Waits;
    use stagger_schedule::Interpreter;

    use super::*;

    fn acted(stage: usize, action: Action, at: u64) -> Acted {
        Acted {
            stage,
            action,
            started_at: Duration::from_millis(at.saturating_sub(10)),
            ended_at: Duration::from_millis(at),
            waits: Waits {
                send: Duration::from_millis(4),
                ..Waits::default()
            },
            transfer: Duration::ZERO,
            delayed: Duration::ZERO,
            staleness: matches!(action, Action::Backward { .. }).then_some(3),
            gap: None,
        }
    }

    fn horizon() -> Horizon {
        Horizon {
            evaluate_at: vec![4, 9],
            snapshot_at: vec![4, 6],
            ..Horizon::of(9)
        }
    }

    fn doing(seen: &[StageSeen]) -> Vec<&str> {
        seen.iter()
            .map(|stage| stage.doing.as_deref().unwrap_or("–"))
            .collect()
    }

    /// Along every method, in an order in which stages can act: what is shown as done now is what is completed next, never one that was
    /// shown to wait; and queues hold what the interpreter's hold.
    #[test]
    fn what_is_shown_comes_about() {
        let methods = [
            "bp",
            "dsp",
            "dsp(1,1,0;4,2,0)",
            "gpipe(3)",
            "1f1b(3)",
            "pipedream",
            "zb(4)",
            "dgl",
            "decoupled",
        ];
        let mut seen_any = 0;
        for method in methods {
            let Ok(schedule) = Schedule::parse(method, Some(3)) else {
                continue;
            };
            seen_any += 1;
            let mut activity = Activity::new(&schedule, &horizon(), 0);
            let mut seen = vec![StageSeen::default(); 3];
            let mut turn = 0;
            let order = move |ready: &[usize]| {
                turn += 1;
                turn * 7 % ready.len()
            };
            let mut run = Interpreter::with_order(&schedule, &horizon(), order);
            let mut at = 0;
            while let Some(step) = run.next() {
                let (stage, action) = step.unwrap();
                activity.show(&mut seen);
                let shown = activity.words(action, false);
                assert_eq!(doing(&seen)[stage], shown, "{method}");
                assert!(!seen[stage].is_waiting, "{method}: {stage} {shown}");
                at += 10;
                activity.acted(&acted(stage, action, at));
                activity.show(&mut seen);
                for (below, shown) in seen.iter().enumerate().take(2) {
                    let in_work =
                        activity.works_on(below + 1, |next| matches!(next, Action::Forward { .. }));
                    let (filled, _) = shown.up.unwrap();
                    assert_eq!(
                        filled + in_work,
                        run.activations_in_flight(below),
                        "{method}"
                    );
                    let in_work =
                        activity.works_on(below, |next| matches!(next, Action::Backward { .. }));
                    if let Some((filled, _)) = shown.down {
                        assert_eq!(filled + in_work, run.gradients_in_flight(below), "{method}");
                    }
                }
            }
            assert_eq!(doing(&seen), ["done"; 3], "{method}");
        }
        assert!(seen_any >= 7, "{seen_any}");
    }

    #[test]
    fn shares_are_of_the_last_seconds() {
        let schedule = Schedule::parse("bp", Some(1)).unwrap();
        let mut activity = Activity::new(&schedule, &Horizon::of(10_000), 0);
        let mut seen = vec![StageSeen::default()];
        let program = schedule.program(0, &Horizon::of(10_000));
        for (count, action) in program.enumerate() {
            // Twice as much time as its actions take.
            let mut acted = acted(0, action, 20 * (count as u64 + 1));
            if count < 1000 {
                acted.waits = Waits::default();
            }
            activity.acted(&acted);
        }
        activity.show(&mut seen);
        let busy = seen[0].busy.unwrap();
        assert!((busy - 0.3).abs() < 0.01, "{busy}");
        let (name, share) = seen[0].waits.unwrap();
        assert!(
            name == "send" && (share - 0.2).abs() < 0.01,
            "{name} {share}"
        );
        assert_eq!(seen[0].staleness, Some(3.0));
        assert!(activity.stages[0].parts.len() <= PARTS);
    }

    #[test]
    fn a_resumed_run_shows_what_it_goes_on_with() {
        let schedule = Schedule::parse("dsp(1,0;2,0)", None).unwrap();
        let mut activity = Activity::new(&schedule, &horizon(), 4);
        let mut seen = vec![StageSeen::default(); 2];
        activity.show(&mut seen);
        // It has forwarded batches 4 and 5 before the snapshot.
        assert_eq!(doing(&seen), ["evaluate at 4", "evaluate at 4"]);
        assert_eq!((seen[0].up, seen[0].down), (None, None));
        // The evaluation is known, and not made again; a snapshot by the clock comes in between.
        let action = Action::Forward { batch: 6, micro: 0 };
        activity.acted(&acted(0, action, 10));
        activity.acted(&acted(0, Action::Snapshot { version: 5 }, 20));
        activity.show(&mut seen);
        assert_eq!(seen[0].doing.as_deref(), Some("recompute 4"));
    }
}
