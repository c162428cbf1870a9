//! Cutting a model into stages.

use proptest::prelude::*;
use stagger_model::{
    Balance, BlockCosts, CostModel, Cut, CutError, MemoryLimit, Model, StageSummaryInput, StageWork,
};

fn resnet20() -> Model {
    Model::by_name("resnet20", [3, 32, 32], 10).unwrap()
}

fn costs(forward: Vec<f64>, backward: Vec<f64>) -> BlockCosts {
    BlockCosts {
        recompute: forward.clone(),
        update: vec![0.0; backward.len()],
        forward,
        backward,
    }
}

fn parse(text: &str) -> Result<Balance, String> {
    text.parse::<Balance>().map_err(|error| error.to_string())
}

fn refusal(balance: &str, stages: usize) -> String {
    let recompute = vec![false; stages];
    parse(balance)
        .unwrap()
        .cut(&resnet20(), &recompute, None)
        .unwrap_err()
        .to_string()
}

#[test]
fn balances_are_read_and_written() {
    assert_eq!(parse(" Auto "), Ok(Balance::Auto));
    assert_eq!(parse("uniform"), Ok(Balance::Uniform));
    assert_eq!(parse("7, 4"), Ok(Balance::Explicit(vec![7, 4])));
    assert_eq!(parse("11"), Ok(Balance::Explicit(vec![11])));
    for path in ["a.json", "/tmp/Profile", "./auto", " b/7,4 "] {
        assert_eq!(parse(path), Ok(Balance::File(path.trim().into())));
    }
    for text in ["auto", "profile", "uniform", "7,4", "runs/Now.json"] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn a_wrong_balance_says_what_is_wrong_and_where() {
    assert_eq!(
        parse("7, x4").unwrap_err(),
        "`7, x4` is no balance: `x4` at position 4 is not a number of blocks (at least 1); \
         write `auto`, `profile`, `uniform`, a file that `stagger profile` has written, or the number of blocks of each stage as in \
         `7,4`"
    );
    assert!(parse("7,0").unwrap_err().contains("`0` at position 3"));
    assert!(parse("7,4,").unwrap_err().contains("`` at position 5"));
    assert!(parse("").unwrap_err().contains("`` at position 1"));
    assert!(
        parse("99999999999999999999")
            .unwrap_err()
            .contains("at position 1")
    );
}

#[test]
fn a_balance_that_does_not_fit_is_refused() {
    assert_eq!(
        refusal("auto", 12),
        "model `resnet20` has 11 blocks, too few for 12 stages of at least one block each; \
         use at most 11 stages or a deeper model"
    );
    assert_eq!(
        refusal("7,4", 3),
        "the balance `7,4` is for 2 stages but there are 3; give one number of blocks for each stage"
    );
    assert_eq!(
        refusal("7,5", 2),
        "the balance `7,5` deals out 12 blocks but model `resnet20` has 11; \
         change it so that the numbers add up to 11"
    );
    let single = CutError::TooManyStages {
        model: "own".to_owned(),
        blocks: 1,
        stages: 2,
    };
    assert_eq!(
        single.to_string(),
        "model `own` has 1 block, too few for 2 stages of at least one block each; use at most 1 stage or a deeper model"
    );
    assert!(refusal("auto", 0).contains("cannot be cut into 0 stages"));
    let message = Cut::new(&resnet20(), &[11, 0]).unwrap_err().to_string();
    assert!(
        message.contains("leaves stage 1 without blocks"),
        "{message}"
    );
    let both = [usize::MAX, usize::MAX];
    assert!(Cut::new(&resnet20(), &both).is_err());
}

#[test]
fn uniform_stages_differ_by_at_most_one_block() {
    let cut = |stages| {
        Balance::Uniform
            .cut(&resnet20(), &vec![true; stages], None)
            .unwrap()
    };
    assert_eq!(cut(2).to_string(), "6,5");
    assert_eq!(cut(4).to_string(), "3,3,3,2");
    assert_eq!(cut(11).to_string(), "1,1,1,1,1,1,1,1,1,1,1");
}

#[test]
fn recomputing_stages_get_less_work() {
    let model = resnet20();
    let cut = |recompute| Balance::Auto.cut(&model, recompute, None).unwrap().sizes();
    let stale = cut(&[true, false])[0];
    let synchronous = cut(&[false, false])[0];
    assert!(stale < synchronous, "{stale} {synchronous}");
}

#[test]
fn measured_costs_replace_the_estimate() {
    let model = resnet20();
    let mut forward = vec![0.0; 11];
    forward[0] = 1.0;
    forward[10] = 1.0;
    let cut = Balance::Auto
        .cut(
            &model,
            &[false, false],
            Some(&costs(forward, vec![0.0; 11])),
        )
        .unwrap();
    assert_eq!(cut.to_string(), "1,10");
    let short = costs(vec![1.0; 3], vec![1.0; 11]);
    let message = Balance::Auto
        .cut(&model, &[false, false], Some(&short))
        .unwrap_err();
    assert!(
        message.to_string().contains("11 forward costs"),
        "{message}"
    );
}

/// A stage goes by the costs of its own device, shared out over its replicas.
#[test]
fn stages_on_slow_devices_get_less_and_those_with_replicas_more() {
    let model = resnet20();
    let costs = |factor: f64| costs(vec![factor; 11], vec![2.0 * factor; 11]);
    let (fast, slow) = (costs(1.0), costs(2.0));
    let work = |measured, replicas| StageWork {
        recompute: false,
        replicas,
        measured,
        memory: None,
    };
    let cut = |work: &[StageWork<'_>]| Balance::Profile.cut_for(&model, work);
    let sizes = |work: &[StageWork<'_>]| cut(work).unwrap().to_string();
    assert_eq!(sizes(&[work(Some(&slow), 1), work(Some(&fast), 1)]), "3,8");
    assert_eq!(sizes(&[work(Some(&slow), 2), work(Some(&fast), 1)]), "5,6");
    assert_eq!(sizes(&[work(Some(&fast), 2), work(Some(&fast), 1)]), "8,3");
    let unknown = cut(&[work(Some(&fast), 1), work(None, 1)]).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "the balance `profile` goes by measured times, and none are at hand; write the cut that it has found, such as `7,4`"
    );
}

/// A stage gets no more blocks than fit its device, even where another cut would be faster.
#[test]
fn stages_keep_to_the_memory_of_their_devices() {
    let model = resnet20();
    let stage = StageSummaryInput {
        staleness: 0,
        recompute: false,
        micro_batches: 1,
        kept_micro_batches: 1,
        weight_copies: 1,
    };
    let cut = |bytes: [Option<u64>; 2]| {
        let work = bytes.map(|bytes| StageWork {
            recompute: false,
            replicas: 1,
            measured: None,
            memory: bytes.map(|bytes| MemoryLimit {
                bytes,
                stage,
                batch_size: 16,
                optimizer_slots: 1,
            }),
        });
        Balance::Auto.cut_for(&model, &work)
    };
    let free = cut([None, None]).unwrap();
    assert_eq!(cut([Some(u64::MAX); 2]).unwrap(), free);
    let needs = |blocks: std::ops::Range<usize>| {
        let input = model.stage_input_shape(blocks.start).unwrap();
        let limit = MemoryLimit {
            bytes: 0,
            stage,
            batch_size: 16,
            optimizer_slots: 1,
        };
        limit.needs(&model.cost(blocks).unwrap(), &input)
    };
    // Exactly enough for two blocks.
    let narrow = cut([Some(needs(0..2)), None]).unwrap();
    assert_eq!(narrow.to_string(), "2,9");
    assert_eq!(
        cut([Some(1_000), Some(1 << 30)]).unwrap_err().to_string(),
        "no cut of model `resnet20` keeps every stage within the memory of its device (stage 0 has 1000 B, stage 1 has 1.0 GiB); \
         use more stages, a smaller batch size, or a method that keeps less"
    );
}

/// Every cut of five blocks into so many stages.
fn all_cuts(model: &Model, stages: usize) -> Vec<Cut> {
    let first_of_stages = 0..1_usize << (model.blocks.len() - 1);
    let sizes = first_of_stages.map(|bits| {
        let mut sizes = vec![1];
        for block in 0..model.blocks.len() - 1 {
            match (bits >> block & 1, sizes.last_mut()) {
                (0, Some(last)) => *last += 1,
                _ => sizes.push(1),
            }
        }
        sizes
    });
    let sizes = sizes.filter(|sizes| sizes.len() == stages);
    sizes
        .map(|sizes| Cut::new(model, &sizes).unwrap())
        .collect()
}

proptest! {
    /// Among all cuts that fit, none has a faster slowest stage; and there is none where the balance finds none.
    #[test]
    fn cuts_by_measured_devices_with_limits_are_the_best(
        stages in prop::collection::vec(
            (
                (prop::collection::vec(0_u32..9, 5), prop::collection::vec(0_u32..9, 5)),
                (any::<bool>(), 1_usize..3, prop::option::of(0_u64..1_500_000)),
            ),
            1..5,
        ),
    ) {
        let model = Model::by_name("resnet8", [3, 8, 8], 10).unwrap();
        let numbers = |times: &[u32]| times.iter().copied().map(f64::from).collect();
        let devices: Vec<BlockCosts> = stages
            .iter()
            .map(|((forward, backward), _)| costs(numbers(forward), numbers(backward)))
            .collect();
        let work: Vec<StageWork<'_>> = stages
            .iter()
            .zip(&devices)
            .map(|((_, (recompute, replicas, bytes)), device)| StageWork {
                recompute: *recompute,
                replicas: *replicas,
                measured: Some(device),
                memory: bytes.map(|bytes| MemoryLimit {
                    bytes,
                    stage: StageSummaryInput {
                        staleness: 0,
                        recompute: *recompute,
                        micro_batches: 1,
                        kept_micro_batches: 2,
                        weight_copies: 1,
                    },
                    batch_size: 8,
                    optimizer_slots: 1,
                }),
            })
            .collect();
        let slowest = |cut: &Cut| {
            let mut slowest = 0.0_f64;
            for (blocks, work) in cut.stages().iter().zip(&work) {
                let input = model.stage_input_shape(blocks.start).unwrap();
                let cost = model.cost(blocks.clone()).unwrap();
                if work.memory.is_some_and(|limit| limit.needs(&cost, &input) > limit.bytes) {
                    return None;
                }
                let time = work.measured.unwrap().stage(blocks.clone(), work.recompute);
                slowest = slowest.max(time / work.replicas as f64);
            }
            Some(slowest)
        };
        let all = all_cuts(&model, work.len());
        let best = all.iter().filter_map(slowest).min_by(f64::total_cmp);
        match Balance::File("p.json".into()).cut_for(&model, &work) {
            Ok(cut) => prop_assert_eq!(slowest(&cut), best),
            Err(error) => {
                prop_assert!(error.to_string().starts_with("no cut of model `resnet8`"));
                prop_assert_eq!(best, None);
            }
        }
    }

    #[test]
    fn auto_covers_all_blocks_and_beats_uniform(recompute in prop::collection::vec(any::<bool>(), 1..12)) {
        let model = resnet20();
        let costs = BlockCosts::estimate(&model, &CostModel::default()).unwrap();
        let largest = |cut: &Cut| {
            let stages = cut.stages().iter().zip(&recompute);
            stages.map(|(blocks, &again)| costs.stage(blocks.clone(), again)).fold(0.0, f64::max)
        };
        let auto = Balance::Auto.cut(&model, &recompute, None).unwrap();
        let uniform = Balance::Uniform.cut(&model, &recompute, None).unwrap();
        for cut in [&auto, &uniform] {
            let covered: Vec<usize> = cut.stages().iter().cloned().flatten().collect();
            prop_assert_eq!(covered, (0..11).collect::<Vec<_>>());
            prop_assert!(cut.stages().iter().all(|blocks| !blocks.is_empty()));
            let again: Balance = cut.to_string().parse().unwrap();
            prop_assert_eq!(&again.cut(&model, &recompute, None).unwrap(), cut);
        }
        prop_assert!(largest(&auto) <= largest(&uniform));
    }
}
