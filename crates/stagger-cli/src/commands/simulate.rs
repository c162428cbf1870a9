//! `stagger simulate`.

mod steps;

use std::fmt::Write as _;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use stagger::plan::{Distribution, LeastStaleness, Simulated, StageSimulated};
use stagger::report::{NewFile, Table, trace};
use stagger::{
    DurationsChoice, PreparedSimulation, SimulatedEvaluations, SimulatedSnapshots, Simulation,
};

use super::figures::{digits, images, shortened};
use super::print;
use crate::failure::Failure;
use crate::flags::SimulateArgs;
use crate::terminal::say;

/// Simulates a schedule, and says what it would reach.
pub fn run(arguments: SimulateArgs) -> Result<(), Failure> {
    let durations: DurationsChoice = arguments.profile.parse().context("--profile")?;
    arguments.grid.map_or(Ok(()), steps::check_grid)?;
    if arguments.grid.is_some() && arguments.json {
        let sentence =
            "--grid draws, and --json prints one object and nothing else; leave one of them out";
        return Err(anyhow!(sentence).into());
    }
    let evaluations = both(
        ("--evaluate-every", arguments.evaluate_every),
        ("--evaluation-batches", arguments.evaluation_batches),
    )?
    .map(|(every, batches)| SimulatedEvaluations { every, batches });
    let snapshots = both(
        ("--snapshot-every", arguments.snapshot_every),
        ("--snapshot-time", arguments.snapshot_time),
    )?;
    let snapshots = match snapshots {
        None => None,
        Some((every, Distribution::Constant(seconds))) => {
            Some(SimulatedSnapshots { every, seconds })
        }
        Some(_) => {
            let sentence = "--snapshot-time is a time that is always the same, such as 20ms";
            return Err(anyhow!(sentence).into());
        }
    };
    let trace = arguments.trace.as_deref().map(NewFile::at).transpose()?;
    let simulation = Simulation {
        schedule: arguments.schedule,
        stages: arguments.stages,
        replicas: arguments.replicas,
        durations,
        balance: arguments.balance,
        estimate_for: arguments.compute.estimate_for(),
        batch_size: arguments.batch_size,
        latency: arguments.latency,
        transfer: arguments.transfer,
        stragglers: arguments.straggler,
        evaluations,
        snapshots,
        batches: arguments.batches,
        warmup: arguments.warmup,
        seed: arguments.seed,
    };
    let mut prepared = simulation.prepare()?;
    let mut note = String::new();
    if let Some(text) = &arguments.keep_busy {
        let share = share(text)?;
        if simulation.evaluations.is_some() || simulation.snapshots.is_some() {
            let sentence = "--keep-busy looks for the staleness of training alone; leave out --evaluate-every and --snapshot-every";
            return Err(anyhow!(sentence).into());
        }
        let (found, is_enough) = prepared.with_least_staleness(share)?;
        prepared = found;
        if !is_enough {
            note = format!(
                "no staleness of up to {most} batches per hop keeps a stage busy for {text} of the time; the most that was tried follows\n",
                most = LeastStaleness::default().most_per_hop
            );
        }
    }
    let kept = match (&trace, arguments.grid) {
        (None, batches) => batches.unwrap_or_default(),
        (Some(_), _) => prepared.batches_in_all(),
    };
    steps::check(kept, trace.is_some(), &prepared)?;
    let mut steps = Vec::new();
    let simulated = prepared.run(|step| {
        if trace::batch_or_version(step.action) < kept {
            steps.push(step);
        }
    })?;
    if let Some(file) = &trace {
        let traced = steps::traced(&mut steps, &prepared.replicas)?;
        file.write(&traced).map_err(Failure::of_run)?;
    }
    if let Some(note) = &prepared.unread_memory {
        say(note);
    }
    let exact = prepared.exact_batches_per_second()?;
    if arguments.json {
        print(&format!(
            "{}\n",
            object(&prepared, &simulated, exact, &simulation)
        ))?;
        return Ok(());
    }
    let mut text = note;
    text += &table(&prepared, &simulated, exact, &simulation);
    if let Some(batches) = arguments.grid {
        text.push('\n');
        text.push_str(&steps::drawn(&steps, &prepared.replicas, batches));
    }
    print(&text)?;
    Ok(())
}

fn updates(every: usize) -> String {
    match every {
        1 => "update".to_owned(),
        every => format!("{every} updates"),
    }
}

/// Two flags of which neither means anything without the other.
fn both<A, B>(
    (one, first): (&str, Option<A>),
    (other, second): (&str, Option<B>),
) -> Result<Option<(A, B)>, Failure> {
    let (given, missing) = match (first, second) {
        (Some(first), Some(second)) => return Ok(Some((first, second))),
        (None, None) => return Ok(None),
        (Some(_), None) => (one, other),
        (None, Some(_)) => (other, one),
    };
    Err(anyhow!("{given} needs {missing} beside it; give both, or neither").into())
}

/// A share such as `99%` or `0.99`.
fn share(text: &str) -> Result<f64, Failure> {
    let number = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse(),
    };
    match number {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err(
            anyhow!("--keep-busy is `{text}`; give a share between 0% and 100%, such as 99%")
                .into(),
        ),
    }
}

fn object(
    prepared: &PreparedSimulation,
    simulated: &Simulated,
    exact: f64,
    request: &Simulation,
) -> Value {
    let stage = |stage: &StageSimulated| {
        json!({
            "replicas": stage.replicas,
            "busy_share": stage.busy_share,
            "replicas_busy_share_mean": stage.mean_busy_share,
            "receive_share": stage.receive_share,
            "send_share": stage.send_share,
            "sum_share": stage.sum_share,
            "staleness_mean": stage.staleness_mean,
            "staleness_max": stage.staleness_max,
            "activations_waiting_mean": stage.activations_mean,
            "gradients_waiting_mean": stage.gradients_mean,
        })
    };
    json!({
        "simulated": true,
        "schedule": prepared.schedule.to_string(),
        "stages": simulated.stages.iter().map(stage).collect::<Vec<_>>(),
        "model": prepared.model,
        "cut": prepared.cut.as_ref().map(|cut| cut.sizes()),
        "batch_size": prepared.batch_size,
        "batches": simulated.batches,
        "evaluations": request.evaluations.map(|of| json!({"every": of.every, "batches": of.batches})),
        "snapshots": request.snapshots.map(|of| json!({"every": of.every, "seconds": of.seconds})),
        "batches_per_second": simulated.batches_per_second,
        "lasting_batches_per_second": simulated.lasting_batches_per_second(),
        "images_per_second": prepared.batch_size.map(|size| size as f64 * simulated.batches_per_second),
        "exact_batches_per_second_of_means": exact,
        "bubble_share": simulated.bubble_share(),
        "wall_seconds": simulated.wall_seconds,
    })
}

fn table(
    prepared: &PreparedSimulation,
    simulated: &Simulated,
    exact: f64,
    request: &Simulation,
) -> String {
    let stages = simulated.stages.len();
    let mut text = format!(
        "simulated: {} on {stages} {}",
        shortened(&prepared.schedule.to_string()),
        if stages == 1 { "stage" } else { "stages" }
    );
    let has_replicas = prepared.replicas.any();
    if has_replicas {
        let _ = write!(
            text,
            " with {} replicas",
            shortened(&prepared.replicas.to_string())
        );
    }
    match (&prepared.model, &prepared.cut) {
        (Some(model), Some(cut)) => {
            let _ = write!(text, " · {model} (blocks {})", shortened(&cut.to_string()));
        }
        _ => {
            if let DurationsChoice::Equal(seconds) = request.durations {
                let _ = write!(text, " · each stage {} ms per batch", digits(1e3 * seconds));
                if has_replicas {
                    text.push_str(" on one device");
                }
            }
        }
    }
    let _ = writeln!(
        text,
        " · {} {}{}",
        simulated.batches,
        if simulated.batches == 1 {
            "batch"
        } else {
            "batches"
        },
        prepared
            .batch_size
            .map_or(String::new(), |size| format!(" of {size}"))
    );
    if let Some(SimulatedEvaluations { every, batches }) = request.evaluations {
        let _ = writeln!(
            text,
            "after every {} each stage evaluates {batches} {}",
            updates(every),
            if batches == 1 { "batch" } else { "batches" }
        );
    }
    if let Some(SimulatedSnapshots { every, seconds }) = request.snapshots {
        let _ = writeln!(
            text,
            "after every {} a snapshot holds each stage up for {} ms",
            updates(every),
            digits(1e3 * seconds)
        );
    }
    let rate = simulated.batches_per_second;
    let _ = write!(text, "{} batches/s", digits(rate));
    if let Some(size) = prepared.batch_size {
        let _ = write!(text, ", {} images/s", images(rate * size as f64));
    }
    let lasting = simulated.lasting_batches_per_second();
    if lasting < 0.99 * rate {
        let _ = write!(
            text,
            " until what lower stages were ahead is used up, and {} in the long run",
            digits(lasting)
        );
    }
    let _ = writeln!(
        text,
        "; {} if everything always took its mean time{}; bubble {:.1} %",
        digits(exact),
        without(request),
        100.0 * simulated.bubble_share()
    );
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let row = |(stage, of): (usize, &StageSimulated)| {
        let mut row = vec![stage.to_string()];
        if has_replicas {
            row.push(of.replicas.to_string());
        }
        row.extend([
            percent(of.busy_share),
            percent(of.receive_share),
            percent(of.send_share),
        ]);
        if has_replicas {
            row.push(percent(of.sum_share));
        }
        row.extend([
            of.staleness_max.to_string(),
            format!("{:.2}", of.activations_mean),
            format!("{:.2}", of.gradients_mean),
        ]);
        row
    };
    let mut headers = vec!["stage"];
    if has_replicas {
        headers.push("replicas");
    }
    headers.extend(["works", "waits for a message", "waits for room"]);
    if has_replicas {
        headers.push("waits for replicas");
    }
    headers.extend([
        "staleness",
        "activations waiting above",
        "gradients waiting",
    ]);
    let table = Table {
        headers: headers.into_iter().map(str::to_owned).collect(),
        rows: simulated.stages.iter().enumerate().map(row).collect(),
    };
    let _ = write!(text, "\n{table}");
    if has_replicas {
        text.push_str("of a stage with replicas, the one that works most\n");
    }
    text
}

/// What the rate of means leaves out of the request.
fn without(request: &Simulation) -> String {
    let left_out = [
        ("stragglers", !request.stragglers.is_empty()),
        ("evaluations", request.evaluations.is_some()),
        ("snapshots", request.snapshots.is_some()),
    ];
    let named = left_out.into_iter().filter(|(_, is_said)| *is_said);
    let named: Vec<&str> = named.map(|(what, _)| what).collect();
    match named.as_slice() {
        [] => String::new(),
        [one] => format!(" without {one}"),
        [others @ .., last] => format!(" without {} and {last}", others.join(", ")),
    }
}
