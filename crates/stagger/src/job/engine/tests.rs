//! Places on different engines and devices.

use stagger_torch::TorchDevice;

use super::*;
use crate::block_times;
use crate::job::Job;
use crate::ranks::instructions;

fn job(engines: &[&str], devices: &[&str], replicas: &[usize]) -> Result<Job, crate::Error> {
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
    let options = TrainingOptions {
        engines: Some(names(engines)),
        stages: Some(engines.len()),
        devices: (!devices.is_empty()).then(|| names(devices)),
        replicas: Some(replicas.to_vec()),
        batch_size: Some(8),
        ..TrainingOptions::default()
    };
    // Whether devices are there is asked below.
    Job::new(options, &crate::job::Given::default())
}

const GPU: PlaceEngine = PlaceEngine::Torch(TorchDevice {
    cuda: Some(99),
    threads: 1,
    deterministic: true,
    tf32: false,
});

#[test]
fn every_replica_may_have_a_device() {
    let found = job(
        &["cpu", "torch"],
        &["cpu", "cpu", "cuda:98", "cuda:99"],
        &[2],
    )
    .unwrap();
    let cpu = PlaceEngine::Cpu(CpuDevice::default());
    assert_eq!(found.engine.at(1), cpu);
    let devices: Vec<String> = (0..4)
        .map(|place| found.engine.at(place).to_string())
        .collect();
    assert_eq!(devices, ["cpu", "cpu", "cuda:98", "cuda:99"]);
    let shared = job(&["cpu", "torch"], &["cpu", "cuda:99"], &[2]).unwrap();
    assert_eq!((shared.engine.at(2), shared.engine.at(3)), (GPU, GPU));
    // `--device` is that of the stages on engine torch.
    let mut options = TrainingOptions {
        device: Some("cuda:99".to_owned()),
        ..shared.options.clone()
    };
    options.devices = None;
    let by_one = Job::new(options, &crate::job::Given::default()).unwrap();
    assert_eq!(by_one.engine, shared.engine);
}

#[test]
fn a_device_is_looked_for_at_its_place() {
    let found = job(&["cpu", "torch"], &["cpu", "cuda:99"], &[1]).unwrap();
    let check = |places| found.engine.check(&found.options, places);
    check(0..1).unwrap();
    let sentence = check(0..2).unwrap_err().to_string();
    assert!(
        sentence.starts_with("`devices`: ") && sentence.contains("device cuda:99 is not there"),
        "{sentence}"
    );
}

#[test]
fn a_rank_alone_runs_the_stages_of_others_on_its_first_device() {
    let found = job(&["cpu", "torch", "cpu"], &["cpu", "cuda:99", "cpu"], &[1]).unwrap();
    let of_0 = found.engine.within(0..1);
    assert!((0..3).all(|place| of_0.at(place) == PlaceEngine::Cpu(CpuDevice::default())));
    let of_both = found.engine.within(0..2);
    assert_eq!(of_both, found.engine);
}

/// A GPU does not know the vector instructions of the processor beside it.
#[test]
fn only_processors_have_vector_instructions() {
    let found = job(&["cpu", "torch", "torch"], &["cpu", "cuda:99", "cpu"], &[1]).unwrap();
    let of = |places| instructions(&found, places);
    assert_eq!(of(0..1), Some(stagger_cpu::instruction_set()));
    assert_eq!(of(1..2), None);
    assert_eq!(of(1..3), Some(stagger_cpu::instruction_set()));
}

#[test]
fn each_engine_is_measured() {
    let found = job(&["cpu", "torch", "cpu"], &[], &[1]).unwrap();
    let costs = block_times::measure(&found, 0..3, 3).unwrap();
    assert_eq!(costs[0], costs[2], "one device");
    assert_ne!(costs[0], costs[1], "two engines");
}
