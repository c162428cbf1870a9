//! What a measurement says, for people.

use std::fmt::Write as _;

use stagger::plan::{DeviceProfile, Distribution, LinkProfile, MeasuredStages};
use stagger::profiling::{Forecast, Profiled};
use stagger::schedule::Facts;

use crate::commands::figures::images;

/// Width of a column of times.
const WIDTH: usize = 18;

/// What blocks, stages and links take, and what that says about cuts.
pub fn tables(measured: &Profiled) -> String {
    let Profiled { job, profile, .. } = measured;
    let stages = job.schedule.stages();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} · {} · {stages} {}{} (blocks {}) · {} {} · micro-batches of {}",
        profile.model,
        job.schedule,
        if stages == 1 { "stage" } else { "stages" },
        job.with_replicas(),
        job.cut,
        job.engine_name(),
        profile.dtype,
        profile.samples,
    );
    for note in &measured.notes {
        let _ = writeln!(text, "{note}");
    }
    let _ = writeln!(
        text,
        "{} images/s with all stages at work\n\n\
         ms per micro-batch, of an update ms per batch: median, and half the distance of the quartiles",
        images(measured.images_per_second)
    );
    for device in &profile.devices {
        device_table(&mut text, measured, device);
    }
    if let Some(whole) = &profile.stages {
        stage_table(&mut text, whole);
    }
    link_lines(&mut text, &profile.links);
    cut_table(&mut text, &measured.forecasts, profile.samples);
    if stages > 1 && !Facts::of(&job.schedule).is_lock_free() {
        let _ = writeln!(
            text,
            "stages of {} wait for each other, so that less than this comes of a cut",
            job.schedule
        );
    }
    text
}

fn head(text: &mut String, first: &str) {
    let _ = write!(text, "\n{first:<20}");
    for pass in ["forward", "recompute", "backward", "update"] {
        let _ = write!(text, "{pass:>WIDTH$}");
    }
    text.push('\n');
}

fn row(text: &mut String, name: &str, times: [&Distribution; 4]) {
    let _ = write!(text, "{name:<20}");
    for time in times {
        let _ = write!(text, "{:>WIDTH$}", spread(time, 1e3));
    }
    text.push('\n');
}

fn device_table(text: &mut String, measured: &Profiled, device: &DeviceProfile) {
    let of = match device.engine.as_deref() {
        None | Some("cpu") => String::new(),
        Some(engine) => format!(" ({engine})"),
    };
    head(text, &format!("blocks on {}{of}", device.name));
    let DeviceProfile {
        forward,
        recompute,
        backward,
        update,
        ..
    } = device;
    for (at, block) in measured.profile.blocks.iter().enumerate() {
        let times = [&forward[at], &recompute[at], &backward[at], &update[at]];
        row(text, &block.name, times);
    }
    let sums = [forward, recompute, backward, update].map(Distribution::sum);
    row(text, "together", sums.each_ref());
}

fn stage_table(text: &mut String, whole: &MeasuredStages) {
    head(text, "whole stages");
    for (stage, (times, blocks)) in whole.times.iter().zip(&whole.cut).enumerate() {
        let passes = [
            &times.forward,
            &times.recompute,
            &times.backward,
            &times.update,
        ];
        let blocks = match blocks {
            1 => "1 block".to_owned(),
            blocks => format!("{blocks} blocks"),
        };
        row(text, &format!("{stage}: {blocks}"), passes);
    }
}

fn link_lines(text: &mut String, links: &[LinkProfile]) {
    for (stage, link) in links.iter().enumerate() {
        let which = match links.len() {
            1 => "each hop".to_owned(),
            _ => format!("hop above stage {stage}"),
        };
        let _ = writeln!(
            text,
            "\n{which}: {} us until a message arrives, and {} us per MB",
            spread(&link.latency, 1e6),
            spread(&link.per_megabyte, 1e6),
        );
    }
}

fn cut_table(text: &mut String, forecasts: &[Forecast], samples: usize) {
    let auto = forecasts.iter().find(|cut| cut.balance == "auto");
    let _ = writeln!(
        text,
        "\n{:<10}{:<16}{:>20}{:>22}{:>16}",
        "balance", "blocks", "slowest stage, ms", "images/s at the most", "against auto"
    );
    for forecast in forecasts {
        let slowest = forecast.slowest();
        let against = auto.map_or(1.0, |auto| auto.slowest() / slowest);
        let _ = writeln!(
            text,
            "{:<10}{:<16}{:>20.2}{:>22.0}{:>+14.1} %",
            forecast.balance,
            forecast.cut.to_string(),
            1e3 * slowest,
            samples as f64 / slowest,
            100.0 * (against - 1.0),
        );
    }
    text.push_str(
        "by the times of blocks, which were measured one at a time, and if no stage waits\n",
    );
}

/// The middle of a time, and half the distance of the quartiles where it was measured several times.
fn spread(time: &Distribution, unit: f64) -> String {
    let middle = unit * time.center();
    let Distribution::Samples(samples) = time else {
        return format!("{middle:.2}");
    };
    let mut sorted = samples.clone();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    format!("{middle:.2} ±{:.2}", unit * (at(0.75) - at(0.25)) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_with_its_spread() {
        let samples = Distribution::Samples(vec![0.003, 0.001, 0.002, 0.005, 0.100]);
        assert_eq!(spread(&samples, 1e3), "3.00 ±1.50");
        assert_eq!(spread(&Distribution::Samples(vec![0.5]), 1.0), "0.50 ±0.00");
        assert_eq!(spread(&Distribution::ZERO, 1e3), "0.00");
    }
}
