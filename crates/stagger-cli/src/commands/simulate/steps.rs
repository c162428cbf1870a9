//! Steps of a simulated run that are kept, to be drawn or traced.

use std::time::Duration;

use anyhow::{Context, anyhow};
use stagger::PreparedSimulation;
use stagger::plan::{Step, grid};
use stagger::report::trace;
use stagger::schedule::Replicas;

use crate::failure::Failure;

/// Columns of a grid.
const COLUMNS: usize = 100;

/// Batches that are drawn or traced: more would fill a screen, or a disk.
const MOST_BATCHES: usize = 10_000;

/// Micro-batches of all stages and replicas together whose steps are kept: with the text of a trace they take some 300 MB.
const MOST_KEPT: usize = 250_000;

/// Makes sure that a grid has batches, and not too many for any stages.
pub fn check_grid(batches: usize) -> Result<(), Failure> {
    if (1..=MOST_BATCHES).contains(&batches) {
        return Ok(());
    }
    Err(anyhow!("--grid is {batches}; give a number of batches from 1 to {MOST_BATCHES}").into())
}

/// Refuses more batches than there is memory for, as every step of every stage is kept.
pub fn check(batches: usize, is_traced: bool, run: &PreparedSimulation) -> Result<(), Failure> {
    let micro_batches = run.schedule.micro_batches();
    let places = run.replicas.places();
    let of_batch = places.saturating_mul(micro_batches).max(1);
    let most = (MOST_KEPT / of_batch).min(MOST_BATCHES);
    if batches <= most {
        return Ok(());
    }
    let mut extent = match (places, run.replicas.any()) {
        (1, _) => "1 stage".to_owned(),
        (places, false) => format!("{places} stages"),
        (places, true) => format!("{places} replicas of stages"),
    };
    if micro_batches > 1 {
        extent += &format!(" in {micro_batches} micro-batches");
    }
    let sentence = match is_traced {
        true => format!(
            "--trace writes all {batches} batches, including the warm-up and those by which stages are ahead, and at most {most} are \
             traced on {extent}; give fewer --batches, a shorter --warmup, or fewer stages"
        ),
        false => format!("--grid is {batches}; at most {most} batches are drawn on {extent}"),
    };
    Err(anyhow!(sentence).into())
}

/// The steps of the first batches, until the last of these batches is through.
pub fn drawn(steps: &[Step], replicas: &Replicas, batches: usize) -> String {
    let of_drawn = steps
        .iter()
        .filter(|step| trace::batch_or_version(step.action) < batches);
    let until = of_drawn.map(|step| step.ends_at).max().unwrap_or_default();
    grid(steps, replicas, COLUMNS, until)
}

/// The steps as a trace.
pub fn traced(steps: &mut [Step], replicas: &Replicas) -> Result<Vec<u8>, Failure> {
    steps.sort_by_key(|step| (step.starts_at, step.stage, step.replica));
    let tracks = (0..replicas.places()).map(|place| replicas.place(place).to_string());
    let mut writer = trace::TraceWriter::new(Vec::new(), tracks).context("the trace")?;
    for step in steps.iter() {
        let slice = trace::Slice {
            track: replicas.number(step.stage, step.replica),
            name: &step.action.to_string(),
            kind: trace::kind(step.action),
            starts_at: Duration::from_nanos(step.starts_at),
            ends_at: Duration::from_nanos(step.ends_at),
            staleness: step.staleness,
        };
        writer.slice(&slice).context("the trace")?;
    }
    Ok(writer.end().context("the trace")?)
}
