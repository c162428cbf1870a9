//! Every method on a real network over four stages: it finishes, and gives the bits of the interpreter.

use crate::support::Trace;
use stagger_cpu::CpuStage;
use stagger_engine::{HostTensor, Optimizer, StageSpec, WeightDecay};
use stagger_model::{Balance, Cut, Model};
use stagger_runtime::{
    FeedError, Feeds, Inputs, Interrupt, Labels, Place, Plan, Straggler, sequential, threads,
};
use stagger_schedule::{Horizon, Schedule};

const STAGES: usize = 4;
const BATCHES: usize = 10;
const SIDE: usize = 8;
const SAMPLES: usize = 8;
const METHODS: [&str; 17] = [
    "bp",
    "gpipe(2)",
    "1f1b(4)",
    "zb(4)",
    "pipedream",
    "2bw(4)",
    "pipemare",
    "ddg",
    "fr",
    "fdg",
    "adl(2)",
    "dsp",
    "dsp + accumulate(2)",
    "dsp + predict",
    "dni",
    "dsp + split",
    "pipedream + split",
];

struct Noise;

impl Inputs for Noise {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let data = (0..SAMPLES * 3 * SIDE * SIDE).map(|i| ((batch * 31 + i) as f32 * 0.7).sin());
        Ok(HostTensor::new(
            vec![SAMPLES, 3, SIDE, SIDE],
            data.collect(),
        )?)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        (batch < 1).then(|| Inputs::train(self, 90)).transpose()
    }
}

impl Labels for Noise {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok((0..SAMPLES).map(|sample| (batch + sample) % 10).collect())
    }

    fn evaluation(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
        Labels::train(self, 90)
    }
}

fn feeds() -> Feeds {
    Feeds {
        inputs: Box::new(Noise),
        labels: Box::new(Noise),
    }
}

fn build(model: &Model, cut: &Cut, stage: usize, optimizer: Optimizer) -> CpuStage {
    let spec = StageSpec {
        optimizer,
        ..StageSpec::new(model, cut.stages()[stage].clone(), 5)
    };
    CpuStage::new(&spec, Default::default()).expect("a valid stage")
}

#[test]
fn every_method_finishes_with_the_bits_of_the_interpreter() {
    check("resnet20");
}

#[test]
#[ignore = "long: .ci/nightly"]
fn every_method_finishes_with_the_bits_of_the_interpreter_on_a_deep_network() {
    check("resnet56");
}

/// A run on threads of this many batches, with gradients clipped to a length that they are above.
fn clipped(model: &Model, method: &str, stages: usize) -> Trace {
    let schedule = Schedule::parse(method, Some(stages)).expect("a valid schedule");
    let cut = Balance::Uniform
        .cut(model, &schedule.recomputes(), None)
        .expect("enough blocks");
    let horizon = Horizon {
        batches: 4,
        evaluate_at: vec![2],
        snapshot_at: vec![2, 4],
        ..Horizon::default()
    };
    let optimizer = Optimizer::Momentum {
        beta: 0.9,
        nesterov: 0.0,
        weight_decay: WeightDecay::everywhere(1e-4),
    };
    let plan = Plan::new(schedule, horizon, optimizer, |_| 0.05);
    let build = |place: Place, optimizer| {
        let spec = StageSpec {
            optimizer,
            clip_norm: Some(0.1),
            ..StageSpec::new(model, cut.stages()[place.stage].clone(), 5)
        };
        CpuStage::new(&spec, Default::default())
    };
    let mut trace = Trace::new(stages);
    let ended = threads::run(&plan, build, feeds(), &Interrupt::new(), |event| {
        trace.take(event)
    });
    ended.expect("the run succeeds");
    trace
}

/// Losses, weights, optimizer states and running statistics, with numbers of micro-batches below and above that of stages.
#[test]
fn split_backward_passes_give_the_bits_of_gpipe() {
    let model = Model::by_name("resnet8", [3, SIDE, SIDE], 10).expect("a model");
    for micro_batches in [1, 3, 8] {
        for stages in 1..=4 {
            let [whole, split] = ["gpipe", "zb"]
                .map(|method| clipped(&model, &format!("{method}({micro_batches})"), stages));
            assert_eq!(whole.losses.len(), 4);
            assert_eq!(
                split.losses, whole.losses,
                "M = {micro_batches}, K = {stages}"
            );
            assert_eq!(
                split.states, whole.states,
                "M = {micro_batches}, K = {stages}"
            );
        }
    }
}

fn check(model: &str) {
    let model = Model::by_name(model, [3, SIDE, SIDE], 10).expect("a model");
    for method in METHODS {
        let schedule = Schedule::parse(method, Some(STAGES)).expect("a valid schedule");
        let cut = Balance::Auto
            .cut(&model, &schedule.recomputes(), None)
            .expect("enough blocks");
        let horizon = Horizon {
            batches: BATCHES,
            evaluate_at: vec![BATCHES],
            snapshot_at: vec![BATCHES],
            ..Horizon::default()
        };
        let optimizer = Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::everywhere(1e-4),
        };
        let mut plan = Plan::new(schedule, horizon, optimizer, |_| 0.01);
        let mut expected = Trace::new(STAGES);
        let build = |place: Place, optimizer| Ok(build(&model, &cut, place.stage, optimizer));
        sequential::run(&plan, build, feeds(), |event| expected.take(event))
            .expect("the interpreter succeeds");
        // Stragglers and measurements change times only.
        let straggler = "stage=*,probability=0.5,slowdown=30%".parse::<Straggler>();
        plan.stragglers.push(straggler.expect("a straggler"));
        plan.gap_every = 2;
        let mut found = Trace::new(STAGES);
        let outcome = threads::run(&plan, build, feeds(), &Interrupt::new(), |event| {
            found.take(event)
        });
        assert_eq!(outcome.expect("the run succeeds").version, BATCHES);
        assert_eq!(found.losses.len(), BATCHES);
        assert_eq!(found, expected, "{method}");
    }
}
