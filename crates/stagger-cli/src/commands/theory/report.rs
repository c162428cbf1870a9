//! What was measured and what follows from it: tables for people, or one JSON object.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stagger::data::shown_text;
use stagger::plan::theory::Bound;
use stagger::report::Table;
use stagger::schedule::Convergence;
use stagger::theory::{Estimates, Measured, Point};

/// One object with everything. A rate that is not limited is null, and so is the bound at a rate that is not allowed.
pub fn json(measured: &Measured) -> Value {
    let job = &measured.job;
    let spread = |spread: Estimates| json!({"median": spread.median, "largest": spread.largest, "versions": spread.versions});
    let point = |point: &Point| {
        json!({
            "version": point.version,
            "loss": point.loss,
            "gradient_squared": point.gradient,
            "noise": point.noise,
            "curvature": point.curvature,
            "moved": point.moved,
            "bias": point.bias,
        })
    };
    let bound = |rate: f64| {
        measured.bound(rate).map(|bound| {
            json!({
                "start": bound.start,
                "noise": bound.noise,
                "staleness": bound.staleness,
                "momentum": bound.momentum,
                "total": bound.total(),
            })
        })
    };
    let rates = Rates::of(measured);
    json!({
        "model": job.model.name,
        "dataset": job.split.train.name(),
        "schedule": job.schedule.to_string(),
        "stages": job.schedule.stages(),
        "staleness": measured.staleness(),
        "stashed_weights": measured.convergence == Convergence::Stashed,
        "cut": job.cut.sizes(),
        "engine": job.engine_name(),
        "dtype": job.precision.to_string(),
        "batch_size": job.batch_size,
        "optimizer": job.optimizer.name(),
        "momentum": measured.momentum.beta,
        "nesterov": measured.momentum.nesterov,
        "weight_decay": job.optimizer.weight_decay().rate,
        "seed": job.seed,
        "steps": measured.steps,
        "probe_batches": measured.probe_batches,
        "probe_images": measured.probe_images,
        "updates": measured.updates(),
        "measured_not_proven": true,
        "smoothness": spread(measured.smoothness()),
        "spread": measured.spread().map(spread),
        "noise": measured.noise(),
        "height": measured.height(),
        "mean_gradient_squared": measured.mean_gradient(),
        "learning_rate": job.learning_rate.base,
        "largest_learning_rate": rates.largest,
        "largest_learning_rate_by_medians": rates.by_medians,
        "largest_learning_rate_without_staleness": rates.fresh,
        "times_the_largest": job.learning_rate.base / rates.largest,
        "bound": bound(measured.rate()),
        "bound_at_the_largest": bound(measured.largest_rate()),
        "outside_of_the_assumptions": measured.outside,
        "points": measured.points.iter().map(point).collect::<Vec<_>>(),
    })
}

/// Learning rates, `η`.
struct Rates {
    largest: f64,
    by_medians: f64,
    fresh: f64,
}

impl Rates {
    fn of(measured: &Measured) -> Self {
        let momentum = measured.momentum;
        let of = |rate: f64| measured.learning_rate(rate);
        Self {
            largest: of(measured.largest_rate()),
            by_medians: of(measured.median_constants().largest_rate(momentum)),
            fresh: of(measured.fresh_constants().largest_rate(momentum)),
        }
    }
}

/// The same for people.
pub fn tables(measured: &Measured) -> String {
    let mut text = headline(measured);
    let _ = write!(text, "\n{}", constants(measured));
    let _ = write!(text, "\n{}", rates(measured));
    let _ = write!(text, "\n{}", bounds(measured));
    text.push_str(&caveats(measured));
    text
}

fn headline(measured: &Measured) -> String {
    let job = &measured.job;
    let stages = job.schedule.stages();
    let momentum = match (measured.momentum.beta, measured.momentum.nesterov) {
        (0.0, _) => "sgd".to_owned(),
        (beta, 0.0) => format!("heavy ball {beta}"),
        (beta, _) => format!("Nesterov {beta}"),
    };
    let decay = match job.optimizer.weight_decay().rate {
        0.0 => String::new(),
        rate => format!(", weight decay {rate}"),
    };
    format!(
        "{} on {} · {} on {} · {} {} · {momentum}{decay}, rate {}, batches of {}\n\
         measured along {}, at {}, on {} other batches ({} images)\n",
        job.model.name,
        shown_text(job.split.train.name()),
        job.schedule,
        counted(stages, "stage"),
        job.engine_name(),
        job.precision,
        job.learning_rate.base,
        job.batch_size,
        counted(measured.steps, "update"),
        counted(measured.points.len(), "version"),
        measured.probe_batches,
        measured.probe_images,
    )
}

fn constants(measured: &Measured) -> Table {
    let row = |name: &str, spread: Option<Estimates>| {
        let number =
            |value: fn(Estimates) -> f64| spread.map_or("–".to_owned(), |it| digits(value(it)));
        vec![
            name.to_owned(),
            number(|spread| spread.median),
            number(|spread| spread.largest),
            spread.map_or(0, |spread| spread.versions).to_string(),
        ]
    };
    let only =
        |name: &str, value: String| vec![name.to_owned(), String::new(), value, String::new()];
    let noise = measured.noise();
    let decay = match measured.job.optimizer.weight_decay().rate {
        0.0 => "",
        _ => ", with its weight decay",
    };
    let mut rows = vec![
        row(
            "L   ‖∇F(wⁿ⁺¹) − ∇F(wⁿ)‖ / ‖wⁿ⁺¹ − wⁿ‖",
            Some(measured.smoothness()),
        ),
        row(
            "S   bias ‖eⁿ‖ / ‖wⁿ − w̃ⁿ‖ of stale weights",
            measured.spread(),
        ),
        only(
            "σ²  variance of the gradient of a batch",
            digits(noise.iter().sum()),
        ),
    ];
    if noise.len() > 1 {
        let of_stages: Vec<String> = noise.iter().map(|noise| digits(*noise)).collect();
        rows.push(only("    of each stage", of_stages.join(" ")));
    }
    rows.push(only(
        &format!("    F(w⁰) − F_*, at most the loss at the start{decay}"),
        digits(measured.height()),
    ));
    rows.push(only(
        "    mean of ‖∇F‖² over the measured versions",
        digits(measured.mean_gradient()),
    ));
    Table {
        headers: ["constant", "median", "largest", "versions"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    }
}

fn rates(measured: &Measured) -> Table {
    let rates = Rates::of(measured);
    let line = match measured.momentum.beta {
        0.0 => "(22)",
        _ => "(24)",
    };
    let own = measured.job.learning_rate.base;
    let beside = match own / rates.largest {
        factor if factor > 1.0 => format!(
            "in use: {} times as large, which no theorem covers",
            digits(factor)
        ),
        factor => format!("in use: {} of it", digits(factor)),
    };
    let mut rows = vec![
        vec![
            format!("largest that {line} allows, with the largest L and S"),
            digits(rates.largest),
        ],
        vec!["    with the medians".to_owned(), digits(rates.by_medians)],
    ];
    if measured.spread().is_some() {
        rows.push(vec![
            "    if nothing were stale".to_owned(),
            digits(rates.fresh),
        ]);
    }
    rows.push(vec![beside, digits(own)]);
    Table {
        headers: ["learning rate", "η"].map(str::to_owned).to_vec(),
        rows,
    }
}

fn bounds(measured: &Measured) -> Table {
    let columns: Vec<(&str, Bound)> = [
        ("at η in use", measured.rate()),
        ("at η largest", measured.largest_rate()),
    ]
    .into_iter()
    .filter_map(|(name, rate)| Some((name, measured.bound(rate)?)))
    .collect();
    let row = |name: &str, of: fn(&Bound) -> f64| {
        let values = columns.iter().map(|(_, bound)| digits(of(bound)));
        std::iter::once(name.to_owned()).chain(values).collect()
    };
    let mut rows = vec![
        row("start, 2 (F(w⁰) − F_*) / (η̂ T)", |bound| bound.start),
        row("noise, L η̂ σ²", |bound| bound.noise),
        row("noise in stale weights", |bound| bound.staleness),
    ];
    let has_momentum = measured.momentum.beta > 0.0;
    if has_momentum {
        rows.push(row("noise in the velocity", |bound| bound.momentum));
    }
    rows.push(row("sum", Bound::total));
    let title = format!(
        "bound {} on the mean of ‖∇F‖², T = {}",
        if has_momentum { "(25)" } else { "(23)" },
        measured.updates()
    );
    let names = columns.iter().map(|(name, _)| (*name).to_owned());
    Table {
        headers: std::iter::once(title).chain(names).collect(),
        rows,
    }
}

fn caveats(measured: &Measured) -> String {
    let mut text = "\nL, S and σ² are what these versions show, and none is proven: elsewhere they may be larger. So the rate that is \
                    allowed is an upper estimate.\n"
        .to_owned();
    if measured.convergence == Convergence::Stashed {
        text.push_str("Stashed weights: by (28), with M in the place of B.\n");
    }
    text.push_str("Outside of the assumptions (docs/theory.md):\n");
    for line in &measured.outside {
        let _ = writeln!(text, "- {line}");
    }
    text
}

fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Three digits of a number.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e4).contains(&size) => {
            let before = size.log10().floor() as i32;
            format!("{value:.*}", usize::try_from(2 - before).unwrap_or(0))
        }
        size if size.is_finite() => format!("{value:.2e}"),
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn three_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1.00"),
            (12.345, "12.3"),
            (1234.5, "1234"),
            (0.012_345, "0.0123"),
            (0.000_123_45, "1.23e-4"),
            (123_456.0, "1.23e5"),
            (f64::INFINITY, "any"),
        ] {
            assert_eq!(digits(value), expected);
        }
    }
}
