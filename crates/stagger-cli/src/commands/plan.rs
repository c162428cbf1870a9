//! `stagger plan`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;
use serde_json::{Value, json};
use stagger::data::{path_for_shell, shown_text};
use stagger::model::quantity;
use stagger::report::{NewFile, Table};
use stagger::{Candidate, DeviceChange, Planned, Planning, Refusal};

use super::figures::{images, ranges, shortened};
use super::print;
use crate::failure::Failure;
use crate::flags::PlanArgs;

/// Images and classes of the data set that is built in.
const BUILT_IN_DATA: ([usize; 3], usize) = ([3, 32, 32], 10);

/// Plans that are too large and named in a table.
const MOST_TOO_LARGE: usize = 12;

/// Finds the fastest way to train on given devices.
pub fn run(arguments: PlanArgs) -> Result<(), Failure> {
    if arguments.top == 0 {
        return Err(anyhow!("--top is 0; give a whole number of at least 1").into());
    }
    let planning = Planning {
        profile: arguments.profile,
        speeds: arguments.speeds,
        added: Vec::new(),
        memory: arguments.memory,
        latency: arguments.latency,
        per_megabyte: arguments.bandwidth.map(|rate| 1.0 / rate),
        stragglers: arguments.straggler,
        batch_size: arguments.batch_size,
        seed: arguments.seed,
    };
    let written = arguments.write_profile.as_deref().map(NewFile::at);
    let written = written.transpose().map_err(stagger::Error::from)?;
    let change = arguments.what_if.as_deref().map(str::parse::<DeviceChange>);
    let change = change.transpose().map_err(stagger::Error::from)?;
    let planned = match (planning.run(), &change) {
        (Ok(planned), _) => Some(planned),
        // With more devices something may fit.
        (Err(stagger::Error::Refused(Refusal::NothingFits { .. })), Some(_)) => None,
        (Err(error), _) => return Err(error.into()),
    };
    let changed = change.map(|change| change.apply(&planning).run());
    let changed = changed.transpose()?;
    let told = match (&written, changed.as_ref().or(planned.as_ref())) {
        (Some(file), Some(planned)) => {
            let text = planned.best_profile.to_json()? + "\n";
            file.write(text.as_bytes()).map_err(Failure::of_run)?;
            Some(simulate_command(planned, file.path()))
        }
        _ => None,
    };
    if arguments.json {
        let mut object = match &planned {
            Some(planned) => object(planned, arguments.top),
            None => json!({"simulated": true, "best": null, "plans": []}),
        };
        if let Some(changed) = &changed {
            object["what_if"] = self::object(changed, arguments.top);
        }
        if let Some(command) = told {
            object["simulate_command"] = command.into();
        }
        print(&format!("{object}\n"))?;
        return Ok(());
    }
    let mut text = match &planned {
        Some(planned) => table(planned, arguments.top),
        None => "nothing fits the memory of the devices that there are\n".to_owned(),
    };
    if let (Some(changed), Some(said)) = (&changed, &arguments.what_if) {
        let after = best(changed).images_per_second;
        let _ = write!(
            text,
            "\nwhat if {}: {} images/s",
            shown_text(said),
            images(after)
        );
        if let Some(planned) = &planned {
            let before = best(planned).images_per_second;
            let times = after / before.max(f64::MIN_POSITIVE);
            let _ = write!(text, " instead of {}, {times:.2} times", images(before));
        }
        let _ = write!(text, "\n\n{}", table(changed, arguments.top));
    }
    if let Some(command) = told {
        let without = match planning.stragglers.is_empty() {
            true => "",
            false => ", without its stragglers",
        };
        let _ = write!(
            text,
            "\nto simulate the marked plan{without} (--latency, --straggler and the like change it):\n  {command}\n"
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
    let model = match planned.is_from_file {
        true => "FILE",
        false => planned.model.name.as_str(),
    };
    let mut text = format!(
        "stagger train --model {} --batch-size {} --schedule '{}'",
        model, planned.batch_size, one.schedule
    );
    if !one.schedule.starts_with("dp(") {
        let _ = write!(text, " --stages {} --balance {}", one.stages, one.cut);
        if one.replicas.any() {
            let _ = write!(text, " --replicas {}", one.replicas);
        }
    }
    text.push_str(&engines(planned, one));
    text.push_str(&computation(planned, one));
    if planned.dtype != "f32" {
        let _ = write!(text, " --dtype {}", planned.dtype);
    }
    // A last batch that is smaller may have too few samples for all shares.
    if one.replicas.any() || one.micro_batches > 1 {
        text.push_str(" --drop-last");
    }
    // Without a data set it trains on the built-in one.
    if (planned.model.input, planned.model.classes) != BUILT_IN_DATA {
        text.push_str(" --data-dir DIR");
    }
    text
}

/// How to simulate the one to take, by its own profile.
fn simulate_command(planned: &Planned, profile: &Path) -> String {
    let one = best(planned);
    let mut text = format!("stagger simulate '{}'", one.schedule);
    if !one.schedule.starts_with("dp(") {
        let _ = write!(text, " --stages {} --balance {}", one.stages, one.cut);
        if one.replicas.any() {
            let _ = write!(text, " --replicas {}", one.replicas);
        }
    }
    let (samples, profile) = (planned.batch_size, path_for_shell(profile));
    let _ = write!(text, " --batch-size {samples} --profile {profile}");
    text
}

/// The flag of the engines, where they are others than the default.
fn engines(planned: &Planned, one: &Candidate) -> String {
    let of_stage = |stage| {
        let first = one.replicas.places_of(stage..stage + 1).start;
        planned.engines[one.devices[first]].as_str()
    };
    let engines: Vec<&str> = (0..one.replicas.stages()).map(of_stage).collect();
    match engines.split_first() {
        Some((&first, others)) if others.iter().any(|other| *other != first) => {
            format!(" --engines {}", engines.join(","))
        }
        Some((&"cpu", _)) | None => String::new(),
        Some((first, _)) => format!(" --engine {first}"),
    }
}

/// The flags of what else the devices of a plan have computed with, where that is something else than the default. Stages have equally many
/// threads.
fn computation(planned: &Planned, one: &Candidate) -> String {
    let devices = || one.devices.iter();
    let threads = devices()
        .filter_map(|&device| planned.threads[device])
        .max();
    let mut sums = devices().filter_map(|&device| planned.winograd[device]);
    let mut text = String::new();
    if let Some(threads) = threads.filter(|threads| *threads > 1) {
        let _ = write!(text, " --threads-per-stage {threads}");
    }
    // Those of all stages are made in one way.
    if sums.next() == Some(false) {
        text.push_str(" --winograd false");
    }
    text
}

/// Copies of each stage.
fn replicas_of_stages(one: &Candidate) -> Vec<usize> {
    let replicas = &one.replicas;
    (0..replicas.stages())
        .map(|stage| replicas.of(stage))
        .collect()
}

fn object(planned: &Planned, top: usize) -> Value {
    let plan = |one: &Candidate| {
        json!({
            "schedule": one.schedule,
            "stages": one.stages,
            "replicas": replicas_of_stages(one),
            "micro_batches": one.micro_batches,
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
        "simulated_plans": planned.simulated,
        "left_out": planned.left_out,
        "too_large": planned.too_large,
    })
}

fn table(planned: &Planned, top: usize) -> String {
    let row = |(at, one): (usize, &Candidate)| {
        vec![
            format!(
                "{}{}",
                if at == planned.best { "→ " } else { "  " },
                shortened(&one.schedule)
            ),
            shortened(&one.replicas.to_string()),
            ranges(&one.devices),
            shortened(&one.cut.to_string()),
            images(one.images_per_second),
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
        "simulated: {}, batches of {}, {} {}; backpropagation on the fastest device alone: {} images/s\n\n{table}",
        planned.model.name,
        planned.batch_size,
        planned.simulated,
        if planned.simulated == 1 {
            "plan"
        } else {
            "plans"
        },
        images(planned.alone_images_per_second)
    );
    if !planned.too_large.is_empty() {
        let named = &planned.too_large[..planned.too_large.len().min(MOST_TOO_LARGE)];
        let more = planned.too_large.len() - named.len();
        let _ = writeln!(
            text,
            "\ntoo large for the memory: {}{}",
            shortened(&named.join("; ")),
            match more {
                0 => String::new(),
                more => format!("; and {more} more"),
            }
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
