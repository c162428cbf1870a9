//! Forward, backward and update of a stage, and its heavy layers alone: `cargo bench -p stagger-cpu`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use stagger_cpu::CpuStage;
use stagger_engine::{HostTensor, Optimizer, Stage, StageSpec, WeightDecay};
use stagger_model::{Block, Layer, Model};

const SAMPLES: usize = 32;

fn batch(stage: &CpuStage, shape: [usize; 3]) -> <CpuStage as Stage>::Activation {
    let shape = [SAMPLES, shape[0], shape[1], shape[2]];
    let len = shape.iter().product();
    let data = (0..len)
        .map(|index: usize| (index as f32 * 0.7).sin())
        .collect();
    stage
        .upload(HostTensor {
            shape: shape.to_vec(),
            data,
        })
        .expect("sizes match")
}

fn whole_model(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resnet20");
    group
        .throughput(Throughput::Elements(SAMPLES as u64))
        .sample_size(10);
    let model = Model::by_name("resnet20", [3, 32, 32], 10).expect("in the zoo");
    let weight_decay = WeightDecay::everywhere(5e-4);
    let optimizer = Optimizer::Momentum {
        beta: 0.9,
        nesterov: 0.0,
        weight_decay,
    };
    let spec = StageSpec {
        optimizer,
        ..StageSpec::new(&model, 0..model.blocks.len(), 1)
    };
    let mut stage = CpuStage::new(&spec, Default::default()).expect("sound");
    let input = batch(&stage, model.input);
    let labels: Vec<usize> = (0..SAMPLES).map(|index| index % 10).collect();
    group.bench_function("forward", |bencher| {
        bencher.iter(|| stage.forward(&input, 0))
    });
    group.bench_function("forward, backward, update", |bencher| {
        bencher.iter(|| {
            let (logits, graph) = stage.record(&input, 0)?;
            let loss = stage.loss(&logits, &labels, 1.0)?;
            stage.backward(graph, loss.grad)?;
            stage.update(0.01)
        });
    });
    group.finish();
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer");
    group.sample_size(20);
    for (channels, side) in [(16, 32), (32, 16), (64, 8)] {
        let norm = vec![Layer::batch_norm("bn", channels), Layer::Relu];
        for (name, layers) in [
            (
                "conv3x3",
                vec![Layer::conv3x3("conv", channels, channels, 1)],
            ),
            ("batch norm, relu", norm),
        ] {
            let model = Model {
                name: name.into(),
                input: [channels, side, side],
                classes: 1,
                blocks: vec![Block::new(name, layers)],
            };
            let spec = StageSpec {
                first: false,
                ..StageSpec::new(&model, 0..1, 1)
            };
            let mut stage = CpuStage::new(&spec, Default::default()).expect("sound");
            let input = batch(&stage, model.input);
            let id = format!("{name} {channels}x{side}x{side}");
            group.bench_function(format!("{id} forward"), |bencher| {
                bencher.iter(|| stage.forward(&input, 0));
            });
            group.bench_function(format!("{id} backward"), |bencher| {
                let mut recorder = CpuStage::new(&spec, Default::default()).expect("sound");
                let record = || recorder.record(&input, 0).expect("fits");
                bencher.iter_batched(
                    record,
                    |(output, graph)| stage.backward(graph, output),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, whole_model, layers);
criterion_main!(benches);
