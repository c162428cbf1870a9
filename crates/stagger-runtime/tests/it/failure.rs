//! A stage that fails ends the run: the others are released, the error names stage and batch.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{ToyFeed, ToyStage, ToyTensor, Trace, feeds, oracle, plan, toy_weights};
use stagger_engine::{
    Distance, EngineError, HostTensor, Loss, MseLoss, Optimizer, Score, Stage, StageState,
    UpdateReport, WeightDecay,
};
use stagger_runtime::{
    CorrectionError, Event, Fault, FeedError, Feeds, Inputs, Interrupt, Labels, Place, Plan,
    RunError, sequential, threads,
};
use stagger_schedule::Action;

/// What a [`Flaky`] stage does at its chosen batch.
#[derive(Clone, Copy)]
enum Flaw {
    Panic,
    Error,
    Nan,
}

/// A toy stage with a flaw.
struct Flaky {
    inner: ToyStage,
    flaw: Option<(Flaw, usize)>,
    updates: usize,
}

impl Stage for Flaky {
    type Activation = ToyTensor;
    type Graph = <ToyStage as Stage>::Graph;
    type Pending = <ToyStage as Stage>::Pending;
    type Weights = <ToyStage as Stage>::Weights;
    type Position = <ToyStage as Stage>::Position;
    type Statistics = <ToyStage as Stage>::Statistics;

    fn upload(&self, host: HostTensor) -> Result<ToyTensor, EngineError> {
        self.inner.upload(host)
    }
    fn forward(&mut self, input: &ToyTensor, batch: usize) -> Result<ToyTensor, EngineError> {
        self.inner.forward(input, batch)
    }
    fn record(
        &mut self,
        input: &ToyTensor,
        batch: usize,
    ) -> Result<(ToyTensor, Self::Graph), EngineError> {
        match self.flaw {
            Some((Flaw::Panic, at)) if at == batch => panic!("the device caught fire"),
            Some((Flaw::Error, at)) if at == batch => Err(EngineError::Labels {
                labels: 1,
                logits: vec![2, 2],
            }),
            _ => self.inner.record(input, batch),
        }
    }
    fn backward(
        &mut self,
        graph: Self::Graph,
        output_grad: ToyTensor,
    ) -> Result<Option<ToyTensor>, EngineError> {
        self.inner.backward(graph, output_grad)
    }
    fn backward_input(
        &mut self,
        graph: Self::Graph,
        output_grad: ToyTensor,
    ) -> Result<(Option<ToyTensor>, Self::Pending), EngineError> {
        self.inner.backward_input(graph, output_grad)
    }
    fn backward_weights(&mut self, pending: Self::Pending) -> Result<(), EngineError> {
        self.inner.backward_weights(pending)
    }
    fn loss(
        &self,
        logits: &ToyTensor,
        labels: &[usize],
        share: f64,
    ) -> Result<Loss<ToyTensor>, EngineError> {
        let mut loss = self.inner.loss(logits, labels, share)?;
        if let Some((Flaw::Nan, at)) = self.flaw
            && at == self.updates
        {
            loss.value = f32::NAN;
        }
        Ok(loss)
    }
    fn mixed_loss(
        &self,
        _logits: &ToyTensor,
        _labels: stagger_engine::MixedLabels<'_>,
        _share: f64,
    ) -> Result<Loss<ToyTensor>, EngineError> {
        unreachable!("no batch here is mixed")
    }

    fn mse_loss(
        &self,
        predicted: &ToyTensor,
        target: &ToyTensor,
    ) -> Result<MseLoss<ToyTensor>, EngineError> {
        self.inner.mse_loss(predicted, target)
    }
    fn scaled(&self, activation: ToyTensor, factor: f64) -> Result<ToyTensor, EngineError> {
        self.inner.scaled(activation, factor)
    }
    fn scale_gradients(&mut self, factor: f64) -> Result<(), EngineError> {
        self.inner.scale_gradients(factor)
    }
    fn export_gradients(&self) -> Result<Vec<HostTensor>, EngineError> {
        self.inner.export_gradients()
    }
    fn import_gradients(&mut self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        self.inner.import_gradients(values)
    }
    fn export_statistics(&self, statistics: &f32) -> Result<Vec<HostTensor>, EngineError> {
        self.inner.export_statistics(statistics)
    }
    fn import_statistics(&self, values: Vec<HostTensor>) -> Result<f32, EngineError> {
        self.inner.import_statistics(values)
    }
    fn score(&self, logits: &ToyTensor, labels: &[usize]) -> Result<Score, EngineError> {
        self.inner.score(logits, labels)
    }
    fn update(&mut self, learning_rate: f64) -> Result<UpdateReport, EngineError> {
        self.updates += 1;
        self.inner.update(learning_rate)
    }
    fn weights(&self) -> Self::Weights {
        self.inner.weights()
    }
    fn replace_weights(&mut self, weights: Self::Weights) -> Self::Weights {
        self.inner.replace_weights(weights)
    }
    fn predicted_weights(&self, coefficient: f64) -> Result<Self::Weights, EngineError> {
        self.inner.predicted_weights(coefficient)
    }
    fn track_average(&mut self, _keep: f64) {
        unreachable!("no plan here asks for a mean")
    }

    fn averaged_weights(&self) -> Result<Option<<ToyStage as Stage>::Weights>, EngineError> {
        Ok(None)
    }

    fn track_drift(&mut self, keep: f64) {
        self.inner.track_drift(keep);
    }
    fn drifted_weights(&self, steps: f64) -> Result<Self::Weights, EngineError> {
        self.inner.drifted_weights(steps)
    }
    fn position(&self) -> Self::Position {
        self.inner.position()
    }
    fn position_of(&self, weights: &Self::Weights) -> Option<Self::Position> {
        self.inner.position_of(weights)
    }
    fn distance(&self, from: &Self::Position) -> Result<Distance, EngineError> {
        self.inner.distance(from)
    }
    fn synthesizer(&self) -> Result<Self, EngineError> {
        Ok(Self {
            inner: self.inner.synthesizer()?,
            ..*self
        })
    }
    fn export_weights(&self, weights: &Self::Weights) -> Result<Vec<HostTensor>, EngineError> {
        self.inner.export_weights(weights)
    }
    fn import_weights(&self, values: Vec<HostTensor>) -> Result<Self::Weights, EngineError> {
        self.inner.import_weights(values)
    }
    fn export_position(&self, position: &Self::Position) -> Result<Vec<HostTensor>, EngineError> {
        self.inner.export_position(position)
    }
    fn import_position(&self, values: Vec<HostTensor>) -> Result<Self::Position, EngineError> {
        self.inner.import_position(values)
    }
    fn statistics(&self) -> Self::Statistics {
        self.inner.statistics()
    }
    fn restore_statistics(&mut self, statistics: Self::Statistics) {
        self.inner.restore_statistics(statistics);
    }
    fn discard_gradients(&mut self) {
        self.inner.discard_gradients();
    }
    fn evaluate(&mut self, input: &ToyTensor) -> Result<ToyTensor, EngineError> {
        self.inner.evaluate(input)
    }
    fn export(&self) -> Result<StageState, EngineError> {
        self.inner.export()
    }
    fn import(&mut self, state: &StageState) -> Result<(), EngineError> {
        self.inner.import(state)
    }
}

fn run_flaky(flawed: usize, flaw: Flaw, batch: usize) -> RunError {
    let plan = plan("dsp(1,1,0;4,2,0)", 3, 1_000, &[]);
    let build = |place: Place, optimizer| {
        let flaw = (place.stage == flawed).then_some((flaw, batch));
        Ok(Flaky {
            inner: ToyStage::build(place, optimizer)?,
            flaw,
            updates: 0,
        })
    };
    threads::run(&plan, build, feeds(), &Interrupt::new(), |_| Ok(())).expect_err("a flaw")
}

#[test]
fn a_panic_names_its_stage_and_batch() {
    for flawed in 0..3 {
        let error = run_flaky(flawed, Flaw::Panic, 7);
        let RunError::Stage {
            stage,
            action,
            version,
            cause: Fault::Panic { message },
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(
            (*stage, *version, message.as_str()),
            (flawed, 7, "the device caught fire")
        );
        assert!(matches!(
            action,
            Action::Recompute { batch: 7, micro: 0 } | Action::Forward { batch: 7, micro: 0 }
        ));
        let sentence = error.to_string();
        assert!(
            sentence.starts_with(&format!("stage {flawed} failed in the ")),
            "{sentence}"
        );
        assert!(
            sentence.contains("of batch 7, version 7: panic: "),
            "{sentence}"
        );
    }
}

#[test]
fn an_engine_error_keeps_its_sentence() {
    let error = run_flaky(1, Flaw::Error, 3);
    assert!(
        matches!(
            &error,
            RunError::Stage {
                stage: 1,
                version: 3,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("one label per row"), "{error}");
}

#[test]
fn a_nan_loss_stops_the_run() {
    let error = run_flaky(2, Flaw::Nan, 5);
    let RunError::Stage {
        stage: 2,
        version: 5,
        cause: Fault::NonFiniteLoss { value },
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(value.is_nan());
    assert!(
        error.to_string().contains("lower the learning rate"),
        "{error}"
    );
}

#[test]
fn a_stage_that_cannot_be_built_releases_the_others() {
    let plan = plan("dsp", 4, 100, &[]);
    let build = |place: Place, optimizer| match place.stage {
        2 => Err(EngineError::Labels {
            labels: 1,
            logits: vec![],
        }),
        _ => ToyStage::build(place, optimizer),
    };
    let result = threads::run(&plan, build, feeds(), &Interrupt::new(), |_| Ok(()));
    assert!(
        matches!(result, Err(RunError::Build { stage: 2, .. })),
        "{result:?}"
    );
}

/// A method is never run as another one: where the optimizer lacks the momentum that it needs, no stage is built.
#[test]
fn corrections_without_momentum_are_refused() {
    for schedule in ["dsp + predict", "dsp + look-ahead"] {
        let plan = Plan {
            optimizer: Optimizer::Sgd {
                weight_decay: WeightDecay::default(),
            },
            ..plan(schedule, 3, 10, &[])
        };
        let build = |_, _| -> Result<ToyStage, _> { panic!("a stage is built") };
        let results = [
            threads::run(&plan, build, feeds(), &Interrupt::new(), |_| Ok(())),
            sequential::run(&plan, build, feeds(), |_| Ok(())),
        ];
        for result in results {
            let Err(RunError::Build { cause, .. }) = &result else {
                panic!("{result:?}");
            };
            assert!(
                matches!(cause, Fault::Correction(CorrectionError::NoMomentum { .. })),
                "{cause}"
            );
        }
    }
}

/// Inputs that fail at a batch.
struct BadFile(usize);

impl Inputs for BadFile {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        if batch == self.0 {
            Err("record 9 is damaged".into())
        } else {
            Inputs::train(&mut ToyFeed, batch)
        }
    }
    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Inputs::evaluation(&mut ToyFeed, batch)
    }
}

#[test]
fn a_loader_error_in_the_middle_ends_the_run() {
    let plan = plan("dsp", 3, 100, &[]);
    let feeds = Feeds {
        inputs: Box::new(BadFile(11)),
        labels: Box::new(ToyFeed),
    };
    let error = threads::run(&plan, ToyStage::build, feeds, &Interrupt::new(), |_| Ok(()))
        .expect_err("bad file");
    assert!(
        matches!(
            &error,
            RunError::Stage {
                stage: 0,
                action: Action::Forward {
                    batch: 11,
                    micro: 0
                },
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("record 9 is damaged"), "{error}");
}

/// A single stage too, which has no link to notice the stop by.
#[test]
fn a_failing_receiver_of_events_ends_the_run() {
    for (schedule, stages) in [("dsp", 3), ("bp", 1)] {
        let plan = plan(schedule, stages, 1_000_000_000, &[]);
        let on_event = |event| match event {
            Event::Trained { batch: 5, .. } => Err("the disk is full".into()),
            _ => Ok(()),
        };
        let build = ToyStage::build;
        let result = threads::run(&plan, build, feeds(), &Interrupt::new(), on_event);
        let error = result.expect_err("a full disk");
        assert_eq!(error.to_string(), "the run was stopped: the disk is full");
    }
}

#[test]
#[should_panic = "the receiver gave up"]
fn a_panicking_receiver_of_events_releases_the_stages() {
    let plan = plan("dsp", 3, 1_000_000_000, &[]);
    let on_event = |event| match event {
        Event::Trained { batch: 5, .. } => panic!("the receiver gave up"),
        _ => Ok(()),
    };
    let build = ToyStage::build;
    let _ = threads::run(&plan, build, feeds(), &Interrupt::new(), on_event);
}

/// Labels that ask for an interrupt while batch `at` is on the last stage.
struct InterruptAt {
    at: usize,
    interrupt: Interrupt,
    asked: AtomicUsize,
}

impl Labels for InterruptAt {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if batch == self.at {
            self.interrupt.request();
        }
        Labels::train(&mut ToyFeed, batch)
    }
    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Labels::evaluation(&mut ToyFeed, batch)
    }
}

/// An interrupt halts every stage at the same version, with the weights of a run that was planned to end there.
#[test]
fn an_interrupt_halts_at_a_common_version() {
    let mut methods: Vec<_> = oracle::methods(3, 2)
        .into_iter()
        .chain([
            ("bp".into(), oracle::Rule::dsp(&[0, 0, 0])),
            ("dsp(1,1,0;4,2,0)".into(), oracle::Rule::dsp(&[4, 2, 0])),
        ])
        .map(|(schedule, rule)| (schedule, Some(rule)))
        .collect();
    // What synthesizers guess is not in the oracle.
    methods.push(("dni".into(), None));
    for (schedule, rule) in methods {
        for at in [0, 1, 6] {
            let plan = plan(&schedule, 3, 100_000, &[50_000, 100_000]);
            let interrupt = Interrupt::new();
            let labels = InterruptAt {
                at,
                interrupt: interrupt.clone(),
                asked: AtomicUsize::new(0),
            };
            let feeds = Feeds {
                inputs: Box::new(ToyFeed),
                labels: Box::new(labels),
            };
            let mut trace = Trace::new(3);
            let outcome =
                threads::run(&plan, ToyStage::build, feeds, &interrupt, |e| trace.take(e))
                    .expect("an interrupt is no failure");
            assert!(outcome.interrupted);
            assert!(
                outcome.version > at && outcome.version < 100_000,
                "{outcome:?}"
            );
            let Some(rule) = &rule else {
                assert_eq!(trace.losses.len(), outcome.version);
                continue;
            };
            let reference = oracle::train(rule, outcome.version, &[]);
            assert_eq!(trace.losses, reference.losses, "{schedule}");
            assert_eq!(toy_weights(&trace.states), reference.weights, "{schedule}");
        }
    }
}

/// Events from before a failure are delivered, however slow their receiver is.
#[test]
fn events_before_a_failure_are_told() {
    let plan = plan("bp", 3, 1_000, &[]);
    let feeds = Feeds {
        inputs: Box::new(BadFile(11)),
        labels: Box::new(ToyFeed),
    };
    let mut trained = Vec::new();
    let build = ToyStage::build;
    let result = threads::run(&plan, build, feeds, &Interrupt::new(), |event| {
        if let Event::Trained { batch, .. } = event {
            // By the end of the first, the run has failed.
            std::thread::sleep(std::time::Duration::from_millis(20));
            trained.push(batch);
        }
        Ok(())
    });
    assert!(matches!(result, Err(RunError::Stage { stage: 0, .. })));
    assert_eq!(trained, (0..11).collect::<Vec<_>>());
}

/// Inputs without a test set: reading it fails.
struct SpoiledTestSet;

impl Inputs for SpoiledTestSet {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        Inputs::train(&mut ToyFeed, batch)
    }

    fn evaluation(&mut self, _batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Err("val/red/3.jpg is damaged".into())
    }
}

#[test]
fn an_evaluation_that_fails_comes_after_the_snapshot_of_every_stage() {
    for schedule in ["bp", "gpipe(2)", "dsp(1,1,0;4,2,0)", "ddg", "dni", "fr"] {
        // The last stage is still about to take its snapshot when stage 0 evaluates.
        let mut plan = plan(schedule, 3, 5, &[5]);
        plan.stragglers = vec!["stage=2,slowdown=10000%".parse().unwrap()];
        let feeds = Feeds {
            inputs: Box::new(SpoiledTestSet),
            ..feeds()
        };
        let mut taken = Vec::new();
        let error = threads::run(&plan, ToyStage::build, feeds, &Interrupt::new(), |event| {
            if let Event::Snapshot { stage, version, .. } = event {
                taken.push((version, stage));
            }
            Ok(())
        });
        let error = error.expect_err("the test set is spoiled");
        assert!(
            matches!(
                &error,
                RunError::Stage {
                    stage: 0,
                    action: Action::Evaluate { version: 5 },
                    ..
                }
            ),
            "{schedule}: {error}"
        );
        assert_eq!(
            error.to_string(),
            "stage 0 failed in the evaluation of version 5: the data could not be loaded: val/red/3.jpg is damaged"
        );
        taken.sort_unstable();
        assert_eq!(taken, [(5, 0), (5, 1), (5, 2)], "{schedule}");
    }
}
