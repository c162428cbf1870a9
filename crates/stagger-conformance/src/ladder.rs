//! The ladder of correctness on a real engine (docs/algorithm.md, "The ladder of correctness" 3 to 7): whole runs of a network
//! with convolutions, batch normalisation, dropout, a residual block and momentum. All comparisons are bit for bit, and of
//! everything a stage holds: parameters, running statistics and optimizer state.

mod delays;
mod network;
mod trace;

pub use delays::Delays;
pub use trace::{Trace, watch_for_hangs};

use stagger_engine::{Stage, StageState};
use stagger_model::{Balance, Cut};
use stagger_runtime::{Inputs, Interrupt, Labels, Place, sequential, threads};
use stagger_transport::Threads;

use crate::Engine;
use network::{BATCHES, Noise, build, cut_for, feeds, learning_rate, model, optimizer, plan};

fn run_threads<K: Engine>(schedule: &str, stages: usize, delays: u64) -> Trace {
    let (model, plan) = (model(), plan(schedule, stages));
    let cut = cut_for(&model, &plan.schedule);
    let mut trace = Trace::new(stages);
    let outcome = threads::run_over(
        &Delays::over(Threads, delays),
        &plan,
        |place: Place, optimizer| Ok(build::<K>(&model, &cut, place.stage, optimizer)),
        feeds(),
        &Interrupt::new(),
        |event| trace.take(event),
    );
    assert_eq!(outcome.expect("the run succeeds").version, BATCHES);
    trace
}

fn run_sequential<K: Engine>(schedule: &str, stages: usize) -> Trace {
    let (model, plan) = (model(), plan(schedule, stages));
    let cut = cut_for(&model, &plan.schedule);
    let mut trace = Trace::new(stages);
    let build = |place: Place, optimizer| Ok(build::<K>(&model, &cut, place.stage, optimizer));
    sequential::run(&plan, build, feeds(), |event| trace.take(event)).expect("the run succeeds");
    trace
}

/// The states of all stages as that of the whole model.
fn whole(trace: &Trace) -> StageState {
    let mut whole = StageState::default();
    trace
        .states
        .iter()
        .for_each(|state| whole.merge(state.clone()));
    whole
}

/// A training loop as anyone would write it, without the runtime.
fn plain_loop<K: Engine>() -> (Vec<f32>, StageState) {
    let model = model();
    let cut = Cut::new(&model, &[model.blocks.len()]).expect("one stage");
    let mut stage = build::<K>(&model, &cut, 0, optimizer());
    let mut losses = Vec::new();
    for batch in 0..BATCHES {
        let input = stage
            .upload(Inputs::train(&mut Noise, batch).unwrap())
            .unwrap();
        let (logits, graph) = stage.record(&input, batch).unwrap();
        let loss = stage
            .loss(&logits, &Labels::train(&mut Noise, batch).unwrap(), 1.0)
            .unwrap();
        losses.push(loss.value);
        stage.backward(graph, loss.grad).unwrap();
        stage.update(learning_rate(batch)).unwrap();
    }
    (losses, stage.export().unwrap())
}

pub fn one_stage_equals_a_plain_loop_and_bp_equals_one_stage<K: Engine>() {
    let (losses, state) = plain_loop::<K>();
    for stages in 1..=6 {
        let trace = run_threads::<K>("bp", stages, 3);
        assert_eq!(trace.losses, losses, "{stages} stages");
        assert_eq!(whole(&trace), state, "{stages} stages");
        assert_eq!(
            trace.evaluations,
            run_threads::<K>("bp", 1, 0).evaluations,
            "{stages} stages"
        );
    }
}

pub fn dsp_without_staleness_equals_bp<K: Engine>() {
    assert_eq!(
        run_threads::<K>("dsp(0,0,0;0,0,0)", 3, 5),
        run_threads::<K>("bp", 3, 11)
    );
    assert_eq!(run_threads::<K>("dsp", 1, 0), run_threads::<K>("bp", 1, 0));
}

/// A training loop that accumulates the gradients of `of` parts of each batch, without the runtime.
fn accumulating_loop<K: Engine>(of: usize) -> (Vec<f32>, StageState) {
    let model = model();
    let cut = Cut::new(&model, &[model.blocks.len()]).expect("one stage");
    let mut stage = build::<K>(&model, &cut, 0, optimizer());
    let mut losses = Vec::new();
    for batch in 0..BATCHES {
        let inputs = Inputs::train(&mut Noise, batch).unwrap();
        let labels = Labels::train(&mut Noise, batch).unwrap();
        let samples = labels.len();
        let mut sum = 0.0;
        for part in 0..of {
            let range = part * samples / of..(part + 1) * samples / of;
            let input = stage.upload(inputs.rows(range.clone())).unwrap();
            let (logits, graph) = stage.record(&input, batch * of + part).unwrap();
            let share = range.len() as f64 / samples as f64;
            let loss = stage.loss(&logits, &labels[range.clone()], share).unwrap();
            sum += f64::from(loss.value) * range.len() as f64;
            stage.backward(graph, loss.grad).unwrap();
        }
        losses.push((sum / samples as f64) as f32);
        stage.update(learning_rate(batch)).unwrap();
    }
    (losses, stage.export().unwrap())
}

pub fn micro_batches_equal_accumulation_in_a_plain_loop<K: Engine>() {
    let (losses, state) = accumulating_loop::<K>(2);
    for schedule in ["gpipe(2)", "1f1b(2)", "zb(2)", "bp + accumulate(2)"] {
        for stages in [1, 2, 3, 4] {
            let trace = run_threads::<K>(schedule, stages, 3);
            assert_eq!(trace.losses, losses, "{schedule} on {stages} stages");
            assert_eq!(whole(&trace), state, "{schedule} on {stages} stages");
        }
    }
    assert_ne!(losses, plain_loop::<K>().0, "batch normalisation sees less");
}

pub fn methods_that_are_one_give_the_same_bits<K: Engine>() {
    for (one, other) in [
        ("1f1b(2)", "gpipe(2)"),
        ("zb(2)", "gpipe(2)"),
        ("adl(1, beta=1)", "fdg(beta=1)"),
        ("dsp(m=3,2,1,0)", "fr"),
        ("pipedream", "ddg"),
        ("dsp + split", "dsp"),
        ("bp + split", "bp"),
        ("adl(2) + split", "adl(2)"),
        ("adl(2, beta=1)", "fdg(beta=1) + accumulate(2)"),
    ] {
        let (found, expected) = (run_threads::<K>(one, 4, 5), run_threads::<K>(other, 4, 6));
        assert_eq!(found.losses, expected.losses, "{one} and {other}");
        assert_eq!(whole(&found), whole(&expected), "{one} and {other}");
    }
}

/// One of each, with every correction somewhere.
const METHODS: [&str; 18] = [
    "bp",
    "gpipe(2)",
    "1f1b(2)",
    "zb(2)",
    "pipedream",
    "pipemare(anneal=4, decay=0.3, sync=2)",
    "ddg",
    "fr",
    "fdg(beta=0.8)",
    "adl(2, beta=0.8)",
    "dsp",
    "dni",
    "dsp + accumulate(2)",
    "dsp + predict + gap-aware",
    "dsp + predict(geometric) + reschedule(5)",
    "ddg + shrink(0.9)",
    "fr + look-ahead",
    "pipedream + predict",
];

pub fn every_method_equals_the_interpreter<K: Engine>() {
    let mut losses = Vec::new();
    for schedule in METHODS {
        let reference = run_sequential::<K>(schedule, 3);
        assert_eq!(run_threads::<K>(schedule, 3, 42), reference, "{schedule}");
        losses.push(reference.losses);
    }
    // Two buffers take as many micro-batches as there are stages.
    let reference = run_sequential::<K>("2bw(2)", 2);
    assert_eq!(run_threads::<K>("2bw(2)", 2, 42), reference);
    // They are not all the same thing.
    let same = ["gpipe(2)", "1f1b(2)", "zb(2)", "pipedream", "ddg"];
    for (one, schedule) in METHODS.iter().enumerate() {
        for other in 0..one {
            let both = [*schedule, METHODS[other]].map(|method| same.contains(&method));
            if both != [true; 2] {
                assert_ne!(
                    losses[one], losses[other],
                    "{schedule} and {}",
                    METHODS[other]
                );
            }
        }
    }
}

pub fn queues_do_not_move_numbers_and_staleness_does<K: Engine>() {
    let base = run_threads::<K>("dsp(1,1,0;4,2,0)", 3, 1);
    for schedule in ["dsp(0,0,0;4,2,0)", "dsp(2,2,0;4,2,0)", "dsp(0,1,0;4,2,0)"] {
        assert_eq!(base, run_threads::<K>(schedule, 3, 2), "{schedule}");
    }
    assert_ne!(base.losses, run_threads::<K>("dsp(m=3,2,0)", 3, 1).losses);
}

pub fn threads_equal_the_interpreter_whatever_the_delays<K: Engine>() {
    for (schedule, stages) in [
        ("bp", 2),
        ("dsp", 2),
        ("dsp", 4),
        ("dsp(0,2,1,0;5,4,2,0)", 4),
    ] {
        let reference = run_sequential::<K>(schedule, stages);
        for delays in [1, 99] {
            assert_eq!(
                run_threads::<K>(schedule, stages, delays),
                reference,
                "{schedule}"
            );
        }
    }
}

/// DSP from its definition: activations go up through states of the past, which are kept and
/// loaded again for the purpose; gradients come down through today's.
fn oracle<K: Engine>(m: &[usize]) -> (Vec<f32>, StageState) {
    let model = model();
    let cut = Balance::Uniform
        .cut(&model, &vec![false; m.len()], None)
        .unwrap();
    let mut today: Vec<_> = (0..m.len())
        .map(|k| build::<K>(&model, &cut, k, optimizer()))
        .collect();
    let mut past: Vec<_> = (0..m.len())
        .map(|k| build::<K>(&model, &cut, k, optimizer()))
        .collect();
    let mut history: Vec<Vec<StageState>> = today
        .iter()
        .map(|stage| vec![stage.export().unwrap()])
        .collect();
    let mut losses = Vec::new();
    for j in 0..BATCHES {
        let mut inputs = vec![
            today[0]
                .upload(Inputs::train(&mut Noise, j).unwrap())
                .unwrap(),
        ];
        for k in 0..m.len() {
            past[k].import(&history[k][j.saturating_sub(m[k])]).unwrap();
            let output = past[k].forward(&inputs[k], j).unwrap();
            inputs.push(output);
        }
        let labels = Labels::train(&mut Noise, j).unwrap();
        let mut grad = None;
        for k in (0..m.len()).rev() {
            let (output, graph) = today[k].record(&inputs[k], j).unwrap();
            let output_grad = grad.take().unwrap_or_else(|| {
                let loss = today[k].loss(&output, &labels, 1.0).unwrap();
                losses.push(loss.value);
                loss.grad
            });
            grad = today[k].backward(graph, output_grad).unwrap();
            today[k].update(learning_rate(j)).unwrap();
            let state = today[k].export().unwrap();
            history[k].push(state);
        }
    }
    let mut whole = StageState::default();
    history
        .into_iter()
        .filter_map(|mut h| h.pop())
        .for_each(|state| whole.merge(state));
    (losses, whole)
}

pub fn dsp_equals_its_definition_on_a_real_engine<K: Engine>() {
    for m in [
        vec![2, 0],
        vec![1, 0],
        vec![4, 2, 0],
        vec![3, 3, 0],
        vec![5, 4, 1, 0],
    ] {
        let list = m.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let trace = run_threads::<K>(&format!("dsp(m={list})"), m.len(), 17);
        let (losses, state) = oracle::<K>(&m);
        assert_eq!(trace.losses, losses, "m = {list}");
        assert_eq!(whole(&trace), state, "m = {list}");
    }
}
