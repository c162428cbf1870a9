//! Images per second of forward, backward and update on one thread, by CPU time, so that other load on the machine
//! matters little: `cargo run --release -p stagger-engine --example throughput -- resnet20 128 5 burn f32`.

use stagger_engine::burn::CpuStage;
use stagger_engine::{HostTensor, Optimizer, Precision, Stage, StageSpec, WeightDecay};

/// Seconds that this thread has run, from Linux's scheduler.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|nanos| nanos.parse::<f64>().ok())
        .unwrap_or(f64::NAN)
        * 1e-9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or("resnet20".into());
    let samples: usize = arguments.next().unwrap_or("128".into()).parse()?;
    let rounds: usize = arguments.next().unwrap_or("5".into()).parse()?;
    let engine = arguments.next().unwrap_or("burn".into());
    let precision: Precision = arguments.next().unwrap_or("f32".into()).parse()?;

    let model = stagger_model::Model::by_name(&name, [3, 32, 32], 10)?;
    let mut spec = StageSpec::new(&model, 0..model.blocks.len(), 1);
    spec.optimizer = Optimizer::Momentum {
        beta: 0.9,
        nesterov: 0.0,
        weight_decay: WeightDecay::everywhere(5e-4),
    };
    spec.precision = precision;
    match engine.as_str() {
        "burn" => measure(CpuStage::new(&spec, Default::default())?, samples, rounds),
        #[cfg(feature = "torch")]
        "torch" => {
            let stage = stagger_engine::torch::TorchStage::new(&spec, Default::default())?;
            measure(stage, samples, rounds)
        }
        other => Err(format!("there is no engine `{other}` in this build").into()),
    }
}

fn measure(
    mut stage: impl Stage,
    samples: usize,
    rounds: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let pixels = (0..samples * 3072)
        .map(|index| (index as f32 * 0.7).sin())
        .collect();
    let labels: Vec<usize> = (0..samples).map(|index| index % 10).collect();
    let input = stage.upload(HostTensor::new(vec![samples, 3, 32, 32], pixels)?)?;

    for round in 0..=rounds {
        let start = cpu_seconds();
        let (logits, graph) = stage.record(&input, round)?;
        let forward = cpu_seconds();
        let loss = stage.loss(&logits, &labels, 1.0)?;
        stage.backward(graph, loss.grad)?;
        let backward = cpu_seconds();
        stage.update(0.05)?;
        let end = cpu_seconds();
        println!(
            "{:6.1} images/s: forward {:.1} ms, backward {:.1} ms, update {:.1} ms, loss {:.6}",
            samples as f64 / (end - start),
            1e3 * (forward - start),
            1e3 * (backward - forward),
            1e3 * (end - backward),
            loss.value
        );
    }
    Ok(())
}
