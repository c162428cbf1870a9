//! A model and its cut as plain text: every layer, every stage, time and memory.

use std::fmt::Write;

use crate::block_costs::{BlockCosts, CostModel};
use crate::cost::Cost;
use crate::cut::Cut;
use crate::cut_error::CutError;
use crate::layer_rows::{BlockRows, block_rows};
use crate::model::Model;
use crate::quantity::{bytes, count, grouped, percent};
use crate::shape::elements;
use crate::table::Table;

/// What a schedule says about a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSummaryInput {
    /// Updates between the forward and the backward pass of a batch, m_k.
    pub staleness: usize,
    /// Whether only the input is kept and the forward pass runs again before the backward pass.
    pub recompute: bool,
    /// M: micro-batches of a batch.
    pub micro_batches: usize,
    /// Micro-batches whose input, or graph, is held at the same time.
    pub kept_micro_batches: usize,
    /// Copies of the parameters that are held at the same time, at least 1.
    pub weight_copies: usize,
}

/// Memory of one stage in bytes, as far as it follows from shapes: no working memory of the engine, no evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageMemory {
    /// Weights in all their versions, gradients and one optimizer buffer (momentum), f32.
    pub parameter_bytes: u64,
    /// Inputs whose backward pass is still to come: of m_k + 1 batches for DSP.
    pub kept_input_bytes: u64,
    /// Outputs of all layers for one micro-batch or, where graphs are kept instead of recomputed, for all that are held.
    pub graph_bytes: u64,
}

impl StageMemory {
    /// The estimate for a stage of this cost and input shape, both for one sample.
    pub fn estimate(
        cost: &Cost,
        input: &[usize],
        stage: StageSummaryInput,
        batch_size: usize,
    ) -> Self {
        let micro_batch = batch_size.div_ceil(stage.micro_batches.max(1)) as u64;
        let samples = micro_batch.saturating_mul(stage.kept_micro_batches as u64);
        let graphs = if stage.recompute {
            micro_batch
        } else {
            samples
        };
        // Beside the weights: gradients and momentum.
        let copies = (stage.weight_copies as u64).saturating_add(2);
        Self {
            parameter_bytes: cost.parameter_bytes().saturating_mul(copies),
            kept_input_bytes: elements(input).saturating_mul(4).saturating_mul(samples),
            graph_bytes: cost.activation_bytes().saturating_mul(graphs),
        }
    }

    /// The sum of the parts.
    pub fn total_bytes(&self) -> u64 {
        let tensors = self.kept_input_bytes.saturating_add(self.graph_bytes);
        self.parameter_bytes.saturating_add(tensors)
    }
}

/// What a summary estimates times by, and what the method makes of them.
#[derive(Clone, Copy, Debug)]
pub struct SummaryTime<'a> {
    /// What layers take.
    pub costs: &'a CostModel,
    /// What that is an estimate of, for the note below the tables: `engine cpu`.
    pub of: &'a str,
    /// How many times faster than one device the method is at most, with stages that are equal.
    pub most_speedup: f64,
    /// Replicas of every stage, at least 1: each has an equal share of a batch.
    pub replicas: usize,
}

/// A table per stage with a row per layer, then a table of the stages. `batch_size` counts samples.
///
/// Runs of blocks that differ in nothing but their name are shown once, so that deep networks stay readable.
///
/// # Errors
/// [`CutError`] when the cut is one of another model, when `stages` has another number of stages than the cut, or
/// when the model is not sound.
pub fn summary(
    model: &Model,
    cut: &Cut,
    stages: &[StageSummaryInput],
    batch_size: usize,
    time: SummaryTime<'_>,
) -> Result<String, CutError> {
    if stages.len() != cut.stages().len() {
        let (expected, found) = (stages.len(), cut.stages().len());
        return Err(CutError::StageCount {
            balance: cut.to_string(),
            expected,
            found,
        });
    }
    // A cut of another model of the same number of blocks does no harm.
    let cut = &Cut::new(model, &cut.sizes())?;
    let cost_model = time.costs;
    let costs = BlockCosts::estimate(model, cost_model)?;
    let times = cut.stages().iter().zip(stages);
    let times: Vec<f64> = times
        .map(|(blocks, stage)| costs.stage(blocks.clone(), stage.recompute))
        .collect();
    let total_time: f64 = times.iter().sum();

    let mut text = heading(model, cut)?;
    let blocks = block_rows(model)?;
    for (index, (range, stage)) in cut.stages().iter().zip(stages).enumerate() {
        let passes = 1.0 + cost_model.backward + f64::from(u8::from(stage.recompute));
        let share = |cost: &Cost| percent(cost_model.forward(cost) * passes / total_time);
        let kept = if stage.recompute {
            "recomputes"
        } else {
            "keeps its graph"
        };
        let _ = writeln!(
            text,
            "\nstage {index}: {}, staleness {}, {kept}, {} of the time",
            plural(range.len(), "block"),
            stage.staleness,
            percent(times[index] / total_time)
        );
        text.push_str(&layers(&blocks[range.clone()], share));
    }
    text.push('\n');
    let share = batch_size.div_ceil(time.replicas.max(1));
    text.push_str(&stage_table(model, cut, stages, &times, share)?);
    text.push_str(&notes(time, &costs, &times, share));
    Ok(text)
}

fn heading(model: &Model, cut: &Cut) -> Result<String, CutError> {
    let all = model.cost(0..model.blocks.len())?;
    Ok(format!(
        "{}: input {}, {}, {} cut into {cut}\n{} parameters, {} multiply-adds ({} FLOPs) per sample\n",
        model.name,
        shape(&model.input),
        plural_of(model.classes, "class", "classes"),
        plural(model.blocks.len(), "block"),
        grouped(all.parameters),
        count(all.multiply_adds),
        count(all.flops()),
    ))
}

/// The table of the layers of one stage.
fn layers(blocks: &[BlockRows], share: impl Fn(&Cost) -> String) -> String {
    let mut table = Table::new(&[
        "layer",
        "output",
        "parameters",
        "FLOPs",
        "activations",
        "time",
    ]);
    let mut push = |label: String, output: &[usize], cost: &Cost| {
        let blank_if_none =
            |value: u64, text: String| if value == 0 { String::new() } else { text };
        table.push(vec![
            label,
            shape(output),
            blank_if_none(cost.parameters, grouped(cost.parameters)),
            blank_if_none(cost.multiply_adds, count(cost.flops())),
            blank_if_none(cost.activations, bytes(cost.activation_bytes())),
            blank_if_none(cost.multiply_adds.max(cost.elementwise), share(cost)),
        ]);
    };
    let mut rest = blocks;
    while let Some(block) = rest.first() {
        push(block.name.clone(), &block.output, &block.cost);
        for row in &block.rows {
            let label = format!("{}{}", "  ".repeat(row.depth), row.label);
            match &row.figures {
                Some((output, cost)) => push(label, output, cost),
                None => push(label, &[], &Cost::default()),
            }
        }
        rest = &rest[1..];
        let same = rest.iter().take_while(|other| other.is_like(block)).count();
        if same == 1 {
            push(
                format!("{} like {}", rest[0].name, block.name),
                &rest[0].output,
                &rest[0].cost,
            );
        } else if same > 1 {
            let label = format!(
                "{} to {}, each like {}",
                rest[0].name,
                rest[same - 1].name,
                block.name
            );
            let cost: Cost = rest[..same].iter().map(|other| other.cost).sum();
            push(label, &block.output, &cost);
        }
        rest = &rest[same..];
    }
    table.render()
}

fn stage_table(
    model: &Model,
    cut: &Cut,
    stages: &[StageSummaryInput],
    times: &[f64],
    batch_size: usize,
) -> Result<String, CutError> {
    let mut table = Table::new(&[
        "stage",
        "blocks",
        "parameters",
        "FLOPs",
        "time",
        "weights",
        "kept inputs",
        "graph",
        "memory",
    ]);
    let total_time: f64 = times.iter().sum();
    for (index, (range, stage)) in cut.stages().iter().zip(stages).enumerate() {
        let cost = model.cost(range.clone())?;
        let input = model.stage_input_shape(range.start)?;
        let memory = StageMemory::estimate(&cost, &input, *stage, batch_size);
        table.push(vec![
            index.to_string(),
            range.len().to_string(),
            grouped(cost.parameters),
            count(cost.flops()),
            percent(times[index] / total_time),
            bytes(memory.parameter_bytes),
            bytes(memory.kept_input_bytes),
            bytes(memory.graph_bytes),
            bytes(memory.total_bytes()),
        ]);
    }
    Ok(table.render())
}

fn notes(time: SummaryTime<'_>, costs: &BlockCosts, times: &[f64], batch_size: usize) -> String {
    let total: f64 = times.iter().sum();
    let busiest = times.iter().copied().fold(0.0, f64::max);
    let alone = costs.stage(0..costs.forward.len(), false);
    let CostModel {
        multiply_adds_per_element,
        backward,
    } = time.costs;
    let of = time.of;
    let replicas = time.replicas.max(1);
    let by_cut = replicas as f64 * alone / busiest;
    let shared = match replicas {
        1 => String::new(),
        replicas => format!(", which {replicas} replicas share"),
    };
    let so = match by_cut > time.most_speedup {
        true => "; with the waits of this method that gives at most",
        false => ", so that this cut gives at most",
    };
    let of_each = match replicas {
        1 => String::new(),
        _ => " for each replica".to_owned(),
    };
    format!(
        "
The busiest stage takes {} of the time{shared}{so} {:.2}x the images/s of one stage.
FLOPs: forward pass of one sample, two per multiply-add of convolutions and linear layers.
activations: outputs of one sample, f32.
time: estimated for {of}; a multiply-add costs 1, an element of any other layer {multiply_adds_per_element}, \
backward {backward}x forward, recomputing 1x forward.
memory: batch size {batch_size}{of_each}, f32, without the engine's working memory.
  weights: with gradients and one optimizer buffer (momentum).
  kept inputs: the stage's input of every batch in flight, staleness + 1 for dsp.
  graph: outputs of all layers for one batch; for every batch in flight where the graph is kept.
",
        percent(busiest / total),
        by_cut.min(time.most_speedup),
    )
}

fn shape(sides: &[usize]) -> String {
    sides
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("x")
}

fn plural(number: usize, noun: &str) -> String {
    plural_of(number, noun, &format!("{noun}s"))
}

fn plural_of(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
