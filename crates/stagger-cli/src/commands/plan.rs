//! `stagger plan`.

use std::fmt::Write as _;

use anyhow::anyhow;
use serde_json::{Value, json};
use stagger::model::quantity;
use stagger::report::Table;
use stagger::{Candidate, DeviceChange, Planned, Planning};

use super::print;
use crate::failure::Failure;
use crate::flags::PlanArgs;

/// Finds the fastest way to train on given devices.
pub fn run(arguments: PlanArgs) -> Result<(), Failure> {
    if arguments.top == 0 {
        return Err(anyhow!("--top is 0; give a whole number of at least 1").into());
    }
    let planning = Planning {
        profile: arguments.profile,
        speeds: arguments.speeds,
        memory: arguments.memory,
        latency: arguments.latency,
        per_megabyte: arguments.bandwidth.map(|rate| 1.0 / rate),
        stragglers: arguments.straggler,
        batch_size: arguments.batch_size,
        seed: arguments.seed,
    };
    let change = arguments.what_if.as_deref().map(str::parse::<DeviceChange>);
    let change = change.transpose().map_err(stagger::Error::from)?;
    let planned = planning.run()?;
    let changed = match &change {
        None => None,
        Some(change) => {
            let changed = change.apply(&planning, planned.devices);
            Some(changed.map_err(stagger::Error::from)?.run()?)
        }
    };
    if arguments.json {
        let mut object = object(&planned, arguments.top);
        if let Some(changed) = &changed {
            object["what_if"] = self::object(changed, arguments.top);
        }
        print(&format!("{object}\n"))?;
        return Ok(());
    }
    let mut text = table(&planned, arguments.top);
    if let (Some(changed), Some(said)) = (&changed, &arguments.what_if) {
        let (before, after) = (best(&planned), best(changed));
        let _ = write!(
            text,
            "\nwhat if {said}: {:.0} images/s instead of {:.0}, {:.2} times\n\n{}",
            after.images_per_second,
            before.images_per_second,
            after.images_per_second / before.images_per_second.max(f64::MIN_POSITIVE),
            table(changed, arguments.top)
        );
    }
    print(&text)?;
    Ok(())
}

fn best(planned: &Planned) -> &Candidate {
    &planned.candidates[planned.best]
}

/// How to run a plan.
fn command(planned: &Planned, one: &Candidate) -> String {
    let mut text = format!(
        "stagger train --model {} --batch-size {} --schedule '{}'",
        planned.model.name, planned.batch_size, one.schedule
    );
    if !one.schedule.starts_with("dp(") {
        let _ = write!(text, " --stages {} --balance {}", one.stages, one.cut);
        if one.replicas > 1 {
            let _ = write!(text, " --replicas {}", one.replicas);
        }
    }
    text
}

fn object(planned: &Planned, top: usize) -> Value {
    let plan = |one: &Candidate| {
        json!({
            "schedule": one.schedule,
            "stages": one.stages,
            "replicas": one.replicas,
            "devices": one.devices,
            "cut": one.cut.sizes(),
            "images_per_second": one.images_per_second,
            "times_one_device": one.images_per_second / planned.alone_images_per_second,
            "staleness": one.staleness,
            "rate_share": one.rate_share,
            "memory_bytes": one.memory_bytes,
            "command": command(planned, one),
        })
    };
    json!({
        "simulated": true,
        "model": planned.model.name,
        "batch_size": planned.batch_size,
        "one_device_images_per_second": planned.alone_images_per_second,
        "best": plan(best(planned)),
        "plans": planned.candidates.iter().take(top).map(plan).collect::<Vec<_>>(),
        "too_large": planned.too_large,
    })
}

fn table(planned: &Planned, top: usize) -> String {
    let row = |(at, one): (usize, &Candidate)| {
        let devices: Vec<String> = one.devices.iter().map(ToString::to_string).collect();
        vec![
            format!(
                "{}{}",
                if at == planned.best { "→ " } else { "  " },
                one.schedule
            ),
            one.replicas.to_string(),
            devices.join(","),
            one.cut.to_string(),
            format!("{:.0}", one.images_per_second),
            format!(
                "{:.2}",
                one.images_per_second / planned.alone_images_per_second
            ),
            one.staleness.to_string(),
            one.rate_share
                .map_or_else(|| "–".to_owned(), |share| format!("{share:.2}")),
            quantity::bytes(one.memory_bytes),
        ]
    };
    let headers = [
        "  schedule",
        "replicas",
        "devices",
        "blocks",
        "images/s",
        "times one device",
        "staleness",
        "rate · L",
        "memory of the largest stage",
    ];
    // The one to take is shown wherever it stands.
    let shown = planned.candidates.iter().enumerate();
    let shown = shown.filter(|(at, _)| *at < top || *at == planned.best);
    let shown: Vec<(usize, &Candidate)> = shown.collect();
    let table = Table {
        headers: headers.map(str::to_owned).to_vec(),
        rows: shown.iter().copied().map(row).collect(),
    };
    let mut text = format!(
        "simulated: {}, batches of {}; backpropagation on the fastest device alone: {:.0} images/s\n\n{table}",
        planned.model.name, planned.batch_size, planned.alone_images_per_second
    );
    if !planned.too_large.is_empty() {
        let _ = writeln!(
            text,
            "\ntoo large for the memory: {}",
            planned.too_large.join("; ")
        );
    }
    text.push_str(
        "\n→ as fast as any but for a hundredth, and of those the one with the least staleness\n\
         rate · L: the largest learning rate of SGD that docs/theory.md allows, times the smoothness L, if the bias of stale gradients \
         is as steep as L; stagger theory measures both\n\nto run them:\n",
    );
    for (at, one) in shown {
        let mark = if at == planned.best { "  # →" } else { "" };
        let _ = writeln!(text, "  {}{mark}", command(planned, one));
    }
    text
}
