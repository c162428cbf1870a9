//! What a comparison asks for, complete and checked.

use anyhow::{Result, anyhow, bail};
use stagger::series::{ComparedMethods, usual_options};
use stagger::{TrainingOptions, config_file};

use crate::commands::series;
use crate::flags::CompareArgs;

/// A named set of methods and values.
struct Preset {
    methods: &'static [&'static str],
    slowdowns: &'static [f64],
    max_batches: Option<usize>,
    evaluate: Option<bool>,
}

const PAPER: Preset = Preset {
    methods: &["bp", "ddg", "fr", "dsp"],
    slowdowns: &[0.0],
    max_batches: None,
    evaluate: None,
};

const STRAGGLERS: Preset = Preset {
    methods: &["bp", "dsp", "fr", "pipedream", "ddg", "gpipe(4)", "1f1b(4)"],
    slowdowns: &[0.0, 20.0, 50.0, 100.0, 150.0],
    max_batches: Some(60),
    evaluate: Some(false),
};

/// Merges flags, config file, preset and defaults.
///
/// # Errors
/// One sentence on the first flag that makes no sense.
pub fn request(arguments: &CompareArgs) -> Result<ComparedMethods> {
    let said = arguments.flags.options();
    for (flag, given, instead) in [
        (
            "--schedule",
            said.schedule.is_some(),
            "name the methods without a flag, as in `stagger compare bp dsp`",
        ),
        (
            "--seed",
            said.seed.is_some(),
            "use --seeds, as in --seeds 1,2,3",
        ),
    ] {
        if given {
            bail!("{flag} is for `stagger train`; {instead}");
        }
    }
    let preset = arguments.preset.as_deref().map(preset).transpose()?;
    let mut values = series::with_config(said, arguments.config.as_deref())?;
    if let Some(preset) = preset {
        let budget_given = values.epochs.is_some() || values.max_seconds.is_some();
        values = values.or(TrainingOptions {
            max_batches: preset.max_batches.filter(|_| !budget_given),
            evaluate: preset.evaluate,
            ..TrainingOptions::default()
        });
    }
    if values.target.is_some() && values.emulate.is_some() {
        bail!(
            "--target is of no use with --emulate: there are no accuracies to reach it; leave it out"
        );
    }
    if values.target.is_some() && values.evaluate == Some(false) {
        bail!(
            "--target is of no use where nothing is evaluated (--evaluate false, --preset stragglers); leave it out, or add --evaluate"
        );
    }
    // Runs that ended there would not be equally long; the report says when each was there.
    values.target = None;
    series::settle_paths(&mut values)?;
    let usual = usual_options(stagger::job::needs_snapshots(&values));
    let stages = values.stages;
    let train = TrainingOptions {
        schedule: None,
        seed: None,
        output: None,
        stages,
        ..values.or(usual).or_defaults()
    };
    let slowdowns = slowdowns(arguments, preset);
    let slows = slowdowns.iter().any(|percent| *percent > 0.0);
    let usual_probability = slows.then_some(ComparedMethods::STRAGGLER_PROBABILITY);
    let mut compared = ComparedMethods {
        methods: methods(arguments, preset)?,
        seeds: seeds(arguments)?,
        straggler_probability: arguments.straggler_probability.or(usual_probability),
        slowdowns,
        train,
    };
    // As they were typed, so that the first that is wrong is named.
    compared.validate().map_err(stagger::Error::from)?;
    compared.slowdowns.sort_by(f64::total_cmp);
    Ok(compared)
}

impl series::Request for ComparedMethods {
    const FILE: &str = "compare.toml";
    const NOUN: &str = "comparison";
}

fn preset(name: &str) -> Result<&'static Preset> {
    match name {
        "paper" => Ok(&PAPER),
        "stragglers" => Ok(&STRAGGLERS),
        _ => bail!("there is no preset `{name}`; use paper or stragglers"),
    }
}

fn methods(arguments: &CompareArgs, preset: Option<&Preset>) -> Result<Vec<String>> {
    let given = arguments
        .methods
        .iter()
        .map(|method| method.trim().to_owned());
    let mut methods: Vec<String> = given.collect();
    if methods.is_empty() {
        let preset = preset.ok_or_else(|| {
            anyhow!("no method is named; name some, as in `stagger compare bp dsp`, or use --preset paper")
        })?;
        methods = preset
            .methods
            .iter()
            .map(|&method| method.to_owned())
            .collect();
    }
    Ok(methods)
}

fn seeds(arguments: &CompareArgs) -> Result<Vec<u64>> {
    let seeds = arguments.seeds.clone().unwrap_or_else(|| vec![1]);
    // TOML has no larger whole numbers.
    if let Some(large) = seeds.iter().find(|seed| i64::try_from(**seed).is_err()) {
        bail!(
            "--seeds {large} is too large; use numbers up to {}",
            i64::MAX
        );
    }
    Ok(seeds)
}

/// In percent.
fn slowdowns(arguments: &CompareArgs, preset: Option<&Preset>) -> Vec<f64> {
    let of_preset = preset.map_or(&[0.0][..], |preset| preset.slowdowns);
    arguments.slowdowns.clone().unwrap_or(of_preset.to_vec())
}

/// The accuracy to which the report shows the time, which no run depends on.
pub fn target(arguments: &CompareArgs) -> anyhow::Result<Option<f64>> {
    let said = arguments.flags.options().target;
    match (&arguments.config, said) {
        (Some(path), None) => {
            stagger::check_path("config", path).map_err(stagger::Error::from)?;
            Ok(config_file::read(path)?.target)
        }
        _ => Ok(said),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::series::Request as _;
    use super::*;
    use crate::flags::{Cli, Command};

    fn request(arguments: &str) -> Result<ComparedMethods> {
        let words = ["stagger", "compare"]
            .into_iter()
            .chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(words)?;
        let Command::Compare(arguments) = cli.command else {
            bail!("not compare")
        };
        super::request(&arguments)
    }

    #[test]
    fn what_is_given_takes_the_place_of_the_presets_own() {
        let whole = request("--preset stragglers").unwrap();
        assert_eq!(whole.methods.len(), 7);
        assert_eq!(whole.slowdowns, [0.0, 20.0, 50.0, 100.0, 150.0]);
        assert_eq!(whole.train.max_batches, Some(60));
        assert_eq!(whole.train.evaluate, Some(false));
        let some =
            request("bp dsp --preset stragglers --epochs 2 --slowdowns 0,100 --evaluate").unwrap();
        assert_eq!(some.methods, ["bp", "dsp"]);
        assert_eq!(some.slowdowns, [0.0, 100.0]);
        assert_eq!((some.train.epochs, some.train.max_batches), (Some(2), None));
        assert_eq!(some.train.evaluate, Some(true));
    }

    #[test]
    fn presets_name_methods_that_there_are() {
        for method in PAPER.methods.iter().chain(STRAGGLERS.methods) {
            stagger::schedule::Schedule::parse(method, Some(2)).unwrap();
        }
    }

    #[test]
    fn runs_keep_snapshots_only_where_something_needs_them() {
        let kept = |flags: &str| request(flags).unwrap().train.keep_snapshots;
        assert_eq!(kept("bp"), Some(0));
        assert_eq!(kept("bp --on-nan rollback"), Some(2));
        assert_eq!(kept("bp --snapshot-every 5"), Some(2));
    }

    #[test]
    fn stages_are_slowed_down_in_one_way() {
        assert!(request("bp --straggler slowdown=50%").is_ok());
        for both in ["bp --slowdowns 0,50", "--preset stragglers"] {
            let error = request(&format!("{both} --straggler slowdown=50%")).unwrap_err();
            let error = error.downcast::<stagger::Error>().unwrap();
            let said = error.sentence(stagger::Spelling::Flags);
            assert!(said.starts_with("--straggler and --slowdowns"), "{said}");
        }
    }

    #[test]
    fn methods_may_stand_between_flags() {
        let found = request("bp --epochs 2 dsp --seeds 1,2 dsp(1,0;2,0) --seconds 3").unwrap();
        assert_eq!(found.methods, ["bp", "dsp", "dsp(1,0;2,0)"]);
        assert_eq!(found.seeds, [1, 2]);
        assert_eq!(found.train.max_seconds, Some(3.0));
    }

    #[test]
    fn slow_downs_are_least_first() {
        let found = request("bp --slowdowns 50,0").unwrap();
        assert_eq!(found.slowdowns, [0.0, 50.0]);
        assert_eq!(found.straggler_probability, Some(0.3333));
        let none = request("bp").unwrap();
        assert_eq!(none.straggler_probability, None);
    }

    #[test]
    fn a_request_survives_its_file_and_knows_what_differs() {
        let one = request("bp dsp --slowdowns 0,12.5 --lr 0.05").unwrap();
        let text = toml::to_string(&one).unwrap();
        let read: ComparedMethods = toml::from_str(&text).unwrap();
        assert_eq!(one.difference(&read).unwrap(), None);
        // A default that is said aloud is the same request.
        let aloud = request("bp dsp --slowdowns 0,12.5 --lr 0.05 --epochs 4").unwrap();
        assert_eq!(aloud.difference(&one).unwrap(), None);
        let other = request("bp dsp --slowdowns 0,12.5").unwrap();
        assert_eq!(
            other.difference(&one).unwrap().unwrap(),
            "`lr` is 0.05 there and not set here"
        );
    }
}
