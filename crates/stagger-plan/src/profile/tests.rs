use proptest::prelude::*;

use super::*;

fn profile() -> Profile {
    let times = |seconds: f64| vec![Distribution::Samples(vec![seconds, 2.0 * seconds]); 2];
    let block = |name: &str| BlockSize {
        name: name.to_owned(),
        parameter_bytes: 8,
        output_bytes: 16,
        graph_bytes: 32,
    };
    Profile {
        format: FORMAT,
        model: "a".to_owned(),
        network: None,
        input: [3, 8, 8],
        classes: 10,
        samples: 4,
        dtype: "f32".to_owned(),
        blocks: vec![block("stem"), block("head")],
        devices: vec![DeviceProfile {
            engine: Some("cpu".to_owned()),
            threads: Some(2),
            winograd: Some(false),
            name: "cpu".to_owned(),
            forward: times(1.0),
            recompute: times(1.5),
            backward: times(2.0),
            weights_share: vec![0.25, 0.75],
            update: times(0.5),
            memory_bytes: None,
        }],
        links: vec![LinkProfile {
            latency: Distribution::Constant(0.25),
            per_megabyte: Distribution::ZERO,
        }],
        stages: Some(MeasuredStages {
            cut: vec![1, 1],
            times: vec![
                StageTimes {
                    forward: Distribution::Constant(1.0),
                    recompute: Distribution::Constant(1.0),
                    backward: Distribution::Constant(1.0),
                    weights_share: None,
                    update: Distribution::Constant(1.0),
                    learn: Distribution::ZERO,
                };
                2
            ],
        }),
    }
}

#[test]
fn a_profile_is_read_back() {
    let written = profile().to_json().unwrap();
    assert_eq!(Profile::from_json(&written).unwrap(), profile());
}

/// A file that says nothing of halves.
#[test]
fn halves_that_were_not_measured_are_equal() {
    let mut profile = profile();
    profile.devices[0].weights_share.clear();
    let written = profile.to_json().unwrap();
    assert!(!written.contains("weights_share"), "{written}");
    let read = Profile::from_json(&written).unwrap();
    assert_eq!(read, profile);
    assert_eq!(read.stages.unwrap().times[0].weights_share(), 0.5);
}

#[test]
fn passes_scale_with_samples_and_updates_are_shared_out() {
    let costs = profile().block_costs(8, 2);
    let expected = BlockCosts {
        forward: vec![3.0; 2],
        recompute: vec![4.5; 2],
        backward: vec![6.0; 2],
        update: vec![0.375; 2],
    };
    assert_eq!(costs, [expected]);
}

#[test]
fn what_does_not_fit_together_is_told() {
    let told = |change: &dyn Fn(&mut Profile)| {
        let mut changed = profile();
        change(&mut changed);
        let text = changed.to_json().unwrap();
        Profile::from_json(&text).unwrap_err().to_string()
    };
    assert_eq!(
        told(&|profile| profile.format = 7),
        "its format is 7, and this version reads format 1"
    );
    assert_eq!(
        told(&|profile| drop(profile.devices[0].backward.pop())),
        "it has 2 blocks, but 1 backward times of device 0"
    );
    assert_eq!(
        told(&|profile| profile.stages.as_mut().unwrap().cut = vec![1, 2]),
        "it has 2 blocks, but 3 blocks in its cut"
    );
    assert_eq!(
        told(&|profile| profile.devices[0].weights_share.truncate(1)),
        "it has 2 blocks, but 1 shares of weights of device 0"
    );
    assert_eq!(
        told(&|profile| profile.devices[0].weights_share[1] = 1.5),
        "a share of weights is 1.5; it has to be from 0 to 1"
    );
    assert_eq!(
        told(&|profile| profile.samples = 0),
        "its micro-batches have 0 samples"
    );
}

fn constants(times: &[Distribution]) -> Vec<f64> {
    times.iter().map(Distribution::center).collect()
}

#[test]
fn blocks_take_together_what_whole_stages_took() {
    let mut measured = profile();
    let constant = |seconds: &[f64]| seconds.iter().map(|&s| Distribution::Constant(s)).collect();
    let device = &mut measured.devices[0];
    device.forward = constant(&[1.0, 3.0]);
    device.recompute = constant(&[2.0, 4.0]);
    device.backward = constant(&[4.0, 4.0]);
    device.update = constant(&[0.0, 0.0]);
    let stages = measured.stages.as_mut().unwrap();
    let took = |forward, recompute, backward| StageTimes {
        forward: Distribution::Constant(forward),
        recompute: Distribution::Constant(recompute),
        backward: Distribution::Constant(backward),
        ..stages.times[0].clone()
    };
    // The upper stage keeps its graph: its forward pass is the one that builds it.
    stages.times = vec![took(2.0, 3.0, 5.0), took(6.0, 6.0, 7.0)];
    let one = measured.clone().calibrated();
    let [device] = &one.devices[..] else {
        panic!("{} devices", one.devices.len());
    };
    assert_eq!(constants(&device.forward), [2.0, 6.0]);
    assert_eq!(constants(&device.recompute), [3.0, 6.0]);
    assert_eq!(constants(&device.backward), [6.0, 6.0]);
    // Nothing is known of it: the blocks take no time for it.
    assert_eq!(constants(&device.update), [0.0, 0.0]);
    assert_eq!(one.clone().calibrated(), one);

    let mut two = measured.clone();
    two.devices.push(two.devices[0].clone());
    let two = two.calibrated();
    // What a device takes beside another, its blocks say.
    for device in &two.devices {
        assert_eq!(constants(&device.backward), [6.0, 6.0]);
        assert_eq!(constants(&device.forward), [2.0, 6.0]);
    }

    let mut three = measured.clone();
    three.devices = vec![three.devices[0].clone(); 3];
    assert_eq!(three.clone().calibrated(), three);
    measured.stages = None;
    assert_eq!(measured.clone().calibrated(), measured);
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Profile::from_json(&String::from_utf8_lossy(&bytes));
    }

    /// A profile with a few bytes changed, left out or doubled is read, or refused; what is read has all its lists and can
    /// be cut by.
    #[test]
    fn a_damaged_profile_is_refused_or_sound(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, any::<u8>()), 1..6),
    ) {
        let mut text = profile().to_json().unwrap().into_bytes();
        for (at, kind, byte) in changes {
            let at = at.index(text.len());
            match kind {
                0 => text[at] = byte,
                1 => drop(text.remove(at)),
                _ => text.insert(at, text[at]),
            }
        }
        match Profile::from_json(&String::from_utf8_lossy(&text)) {
            Ok(read) => for costs in read.block_costs(4, 1) {
                prop_assert!(costs.validate(read.blocks.len()).is_ok());
            },
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
