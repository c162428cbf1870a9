//! DNI: what stages guess instead of waiting, and what they learn from the true gradient.

use crate::support::{ToyStage, feeds, plan};
use stagger_cpu::CpuStage;
use stagger_engine::{HostTensor, Optimizer, StageSpec, WeightDecay};
use stagger_model::{Balance, Model};
use stagger_runtime::{Event, FeedError, Feeds, Inputs, Interrupt, Labels, Plan, threads};
use stagger_schedule::{Horizon, Schedule};

/// Every boundary learns from every batch, in order, whatever the timing.
#[test]
fn every_gradient_is_learned_from_once() {
    let plan = plan("dni", 4, 12, &[12]);
    let mut lessons = vec![Vec::new(); 4];
    let outcome = threads::run(
        &plan,
        ToyStage::build,
        feeds(),
        &Interrupt::new(),
        |event| {
            if let Event::Synthesized { stage, batch, .. } = event {
                lessons[stage].push(batch);
            }
            Ok(())
        },
    );
    assert_eq!(outcome.expect("the run succeeds").version, 12);
    let all: Vec<usize> = (0..12).collect();
    assert_eq!(lessons, [all.clone(), all.clone(), all, vec![]]);
}

const SIDE: usize = 8;
const SAMPLES: usize = 16;

/// Images whose class is the quarter that is bright.
struct Quarters;

impl Quarters {
    fn class(batch: usize, sample: usize) -> usize {
        (batch * 7 + sample * 3) % 4
    }
}

impl Inputs for Quarters {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let mut state = batch as u64 + 1;
        let mut data = Vec::new();
        for sample in 0..SAMPLES {
            let class = Self::class(batch, sample);
            for pixel in 0..3 * SIDE * SIDE {
                let (x, y) = (pixel % SIDE, pixel / SIDE % SIDE);
                let quarter = usize::from(x >= SIDE / 2) + 2 * usize::from(y >= SIDE / 2);
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let noise = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
                data.push(noise + if quarter == class { 0.5 } else { 0.0 });
            }
        }
        Ok(HostTensor::new(vec![SAMPLES, 3, SIDE, SIDE], data)?)
    }

    fn evaluation(&mut self, _: usize) -> Result<Option<HostTensor>, FeedError> {
        Ok(None)
    }
}

impl Labels for Quarters {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok((0..SAMPLES)
            .map(|sample| Self::class(batch, sample))
            .collect())
    }

    fn evaluation(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
        Ok(Vec::new())
    }
}

/// Mean of the first and of the last fifth.
fn ends(values: &[f64]) -> (f64, f64) {
    let fifth = values.len() / 5;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    (
        mean(&values[..fifth]),
        mean(&values[values.len() - fifth..]),
    )
}

/// On a network that learns its task, the synthesizer comes to guess better than the 0 that it starts with: its loss as
/// a share of what saying 0 would cost falls. The loss by itself would fall with the gradients, whatever the guess. Most of a
/// gradient cannot be guessed: it depends on labels, which the synthesizer does not see.
#[test]
fn a_synthesizer_lowers_its_own_loss_and_the_network_learns() {
    let model = Model::by_name("resnet8", [3, SIDE, SIDE], 4).expect("a model");
    let schedule = Schedule::parse("dni", Some(2)).expect("a schedule");
    let cut = Balance::Uniform
        .cut(&model, &[false; 2], None)
        .expect("enough blocks");
    let optimizer = Optimizer::Momentum {
        beta: 0.9,
        nesterov: 0.0,
        weight_decay: WeightDecay::default(),
    };
    let spec = |stage: usize, optimizer| StageSpec {
        optimizer,
        ..StageSpec::new(&model, cut.stages()[stage].clone(), 3)
    };
    let plan = Plan::new(schedule, Horizon::of(200), optimizer, |_| 0.002);
    let feeds = Feeds {
        inputs: Box::new(Quarters),
        labels: Box::new(Quarters),
    };
    let (mut lessons, mut silences, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    let outcome = threads::run(
        &plan,
        |place, optimizer| CpuStage::new(&spec(place.stage, optimizer), Default::default()),
        feeds,
        &Interrupt::new(),
        |event| {
            match event {
                Event::Synthesized {
                    loss,
                    loss_of_silence,
                    ..
                } => {
                    lessons.push(loss);
                    silences.push(loss_of_silence);
                }
                Event::Trained { loss, .. } => losses.push(f64::from(loss)),
                _ => {}
            }
            Ok(())
        },
    );
    outcome.expect("the run succeeds");
    let (untrained, trained) = ends(&losses);
    let (spoken, silent) = (ends(&lessons), ends(&silences));
    let (early, late) = (spoken.0 / silent.0, spoken.1 / silent.1);
    assert!(
        trained < 0.5 * untrained,
        "training loss {untrained} became {trained}"
    );
    assert!(
        late < 0.93 * early,
        "synthesizer loss {early} became {late}"
    );
}
