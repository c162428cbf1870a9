//! What a comparison asks for, complete and checked.

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use stagger::job::Job;
use stagger::schedule::Schedule;
use stagger::{Training, TrainingOptions, config_file};

use crate::commands::series;
use crate::flags::CompareArgs;

/// About one in three, as in the paper's experiment.
const STRAGGLER_PROBABILITY: f64 = 0.3333;

/// Everything that decides what is run: the content of `compare.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// As the user wrote them.
    pub methods: Vec<String>,
    pub seeds: Vec<u64>,
    /// In percent; `[0]` without any.
    pub slowdowns: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub straggler_probability: Option<f64>,
    /// What all runs have in common.
    pub train: TrainingOptions,
}

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

impl Request {
    /// Merges flags, config file, preset and defaults.
    ///
    /// # Errors
    /// One sentence on the first flag that makes no sense.
    pub fn new(arguments: &CompareArgs) -> Result<Self> {
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
        // Runs that ended there would not be equally long; the report says when each was there.
        values.target = None;
        if values.patience.is_some() {
            bail!(
                "--patience is for `stagger train`; the runs of a comparison are equally long, so leave it out"
            );
        }
        stagger::job::check_snapshots(&values).map_err(stagger::Error::from)?;
        series::settle_paths(&mut values)?;
        let stages = values.stages;
        let keep_snapshots = (!stagger::job::needs_snapshots(&values)).then_some(0);
        let train = TrainingOptions {
            schedule: None,
            seed: None,
            output: None,
            stages,
            ..values
                .or(TrainingOptions {
                    // Backpropagation is one of the methods, or of no interest.
                    calibration_batches: Some(0),
                    // A run that was interrupted starts again.
                    keep_snapshots,
                    ..TrainingOptions::default()
                })
                .or_defaults()
        };
        let slowdowns = slowdowns(arguments, preset)?;
        let slowed = slowdowns.iter().any(|slowdown| *slowdown > 0.0);
        if slowed && train.straggler.is_some() {
            bail!(
                "--straggler and --slowdowns both say how stages are slowed down; give one of them"
            );
        }
        Ok(Self {
            methods: methods(arguments, preset)?,
            seeds: seeds(arguments)?,
            straggler_probability: probability(arguments, slowed)?,
            slowdowns,
            train,
        })
    }

    /// Stages of a method's run: those that are asked for, or what its notation says, or the default. Data parallelism has one
    /// whatever is asked for, as its devices hold the whole network each.
    fn stages_of(&self, method: &str) -> Option<usize> {
        let fixed = Schedule::parse(method, None).ok();
        let own = fixed.as_ref().map(Schedule::stages);
        if fixed.is_some_and(|schedule| schedule.replicas().is_some()) {
            return own;
        }
        self.train
            .stages
            .or(own)
            .or(TrainingOptions::defaults().stages)
    }

    /// Whether a method's run normalises over replicas, where that is asked for. A method without replicas has none to do it with
    /// and runs as it is, beside others that have some; if no method has any, all are asked, and the first refuses.
    fn syncs(&self, method: &str) -> Option<bool> {
        let asked = self.train.sync_batch_norm;
        let several = |counts: &Vec<usize>| counts.iter().any(|&count| count > 1);
        let of_all = self.train.replicas.as_ref().is_some_and(several);
        let has = |method: &String| {
            let schedule = Schedule::parse(method, self.stages_of(method)).ok();
            let own = schedule.and_then(|schedule| schedule.replicas());
            own.map_or(of_all, |own| own > 1)
        };
        asked.filter(|_| has(&method.to_owned()) || !self.methods.iter().any(has))
    }

    /// Engines that are named stage by stage are for one number of stages.
    fn refuse_other_stages(&self) -> Result<()> {
        let Some(engines) = &self.train.engines else {
            return Ok(());
        };
        for method in &self.methods {
            let stages = self.stages_of(method).unwrap_or_default();
            if stages != engines.len() {
                bail!(
                    "--engines names {}, and method `{method}` runs on {}; compare methods on one number of stages, or use \
                     --engine",
                    counted(engines.len(), "engine"),
                    counted(stages, "stage")
                );
            }
        }
        Ok(())
    }

    /// Values of one run.
    pub fn values(&self, method: &str, seed: u64) -> TrainingOptions {
        // Batches of the usual size, whatever a method makes of them: the budget is the same for all.
        let stages = self.stages_of(method);
        let schedule = Schedule::parse(method, stages);
        let accumulated = schedule.map_or(1, |schedule| schedule.accumulated_batches());
        TrainingOptions {
            schedule: Some(method.to_owned()),
            stages,
            seed: Some(seed),
            sync_batch_norm: self.syncs(method),
            max_batches: self
                .train
                .max_batches
                .map(|batches| batches.div_ceil(accumulated)),
            ..self.train.clone()
        }
    }

    /// Opens the data and builds every method's job, so that whatever is wrong is told before the first run.
    ///
    /// # Errors
    /// One sentence on the first method or value that is wrong.
    pub fn check(&self) -> Result<Vec<Job>> {
        let mut jobs: Vec<Job> = Vec::new();
        let seed = self.seeds.first().copied().unwrap_or_default();
        self.refuse_other_stages()?;
        for method in &self.methods {
            let values = self.values(method, seed);
            let training = Training::new().options(values);
            let checked = match jobs.first() {
                None => training.check(),
                // What is wrong with all of them would have been told by the first.
                Some(first) => {
                    // An error of the notation names the method itself.
                    Schedule::parse(method, self.stages_of(method))?;
                    training.dataset(first.split.clone()).check()
                }
            };
            let of_method =
                !jobs.is_empty() || matches!(checked, Err(stagger::Error::Stage { .. }));
            let job = match of_method {
                true => checked.with_context(|| format!("method `{method}`"))?,
                false => checked?,
            };
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// What slows the stages of a run down, for `stagger train --straggler`.
    pub fn straggler(&self, slowdown_percent: f64) -> Option<String> {
        let probability = self.straggler_probability.unwrap_or(STRAGGLER_PROBABILITY);
        (slowdown_percent > 0.0)
            .then(|| format!("stage=*,probability={probability},slowdown={slowdown_percent}%"))
    }
}

impl series::Request for Request {
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
    if let Some(twice) = twice(&methods) {
        bail!("method `{twice}` is named twice; name it once, and use --seeds for several runs");
    }
    Ok(methods)
}

fn seeds(arguments: &CompareArgs) -> Result<Vec<u64>> {
    let seeds = arguments.seeds.clone().unwrap_or_else(|| vec![1]);
    if let Some(twice) = twice(&seeds) {
        bail!("--seeds names {twice} twice; every seed is run once");
    }
    // TOML has no larger whole numbers.
    if let Some(large) = seeds.iter().find(|seed| i64::try_from(**seed).is_err()) {
        bail!(
            "--seeds {large} is too large; use numbers up to {}",
            i64::MAX
        );
    }
    Ok(seeds)
}

fn slowdowns(arguments: &CompareArgs, preset: Option<&Preset>) -> Result<Vec<f64>> {
    let of_preset = preset.map_or(&[0.0][..], |preset| preset.slowdowns);
    let slowdowns = arguments.slowdowns.clone().unwrap_or(of_preset.to_vec());
    if let Some(wrong) = slowdowns
        .iter()
        .find(|slowdown| !(0.0..=10_000.0).contains(*slowdown))
    {
        bail!("--slowdowns {wrong} is no slow-down; give percents from 0 to 10000, as in 0,50,100");
    }
    if let Some(twice) = twice(&slowdowns) {
        bail!("--slowdowns names {twice} twice; every slow-down is run once");
    }
    let mut slowdowns = slowdowns;
    slowdowns.sort_by(f64::total_cmp);
    Ok(slowdowns)
}

fn probability(arguments: &CompareArgs, slowed: bool) -> Result<Option<f64>> {
    match arguments.straggler_probability {
        Some(_) if !slowed => bail!(
            "--straggler-probability does nothing without slow-downs; add --slowdowns 0,50,100, or leave it out"
        ),
        Some(share) if !(share > 0.0 && share <= 1.0) => bail!(
            "--straggler-probability {share} is not a probability; give a number above 0 and up to 1"
        ),
        Some(share) => Ok(Some(share)),
        None => Ok(slowed.then_some(STRAGGLER_PROBABILITY)),
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn twice<T: PartialEq>(list: &[T]) -> Option<&T> {
    let mut entries = list.iter().enumerate();
    entries.find_map(|(at, entry)| list[..at].contains(entry).then_some(entry))
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

    fn request(arguments: &str) -> Result<Request> {
        let words = ["stagger", "compare"]
            .into_iter()
            .chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(words)?;
        let Command::Compare(arguments) = cli.command else {
            bail!("not compare")
        };
        Request::new(&arguments)
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
            Schedule::parse(method, Some(2)).unwrap();
        }
    }

    #[test]
    fn accumulated_batches_count_as_often_as_they_are() {
        let found = request("dsp dsp+accumulate(4) --max-batches 10 --slowdowns 50,0").unwrap();
        let batches = |method| found.values(method, 1).max_batches;
        assert_eq!(
            (batches("dsp"), batches("dsp+accumulate(4)")),
            (Some(10), Some(3))
        );
        assert_eq!(found.slowdowns, [0.0, 50.0], "least first");
    }

    #[test]
    fn methods_with_replicas_normalise_together() {
        let of = |words: &str, method| {
            let found = request(&format!("{words} --sync-batch-norm")).unwrap();
            found.values(method, 1).sync_batch_norm
        };
        assert_eq!(of("bp dp(2)", "dp(2)"), Some(true));
        assert_eq!(of("bp dp(2)", "bp"), None);
        assert_eq!(of("bp dp(1) dp(2)", "dp(1)"), None);
        for method in ["bp", "dsp"] {
            assert_eq!(of("bp dsp --replicas 2", method), Some(true));
            // No method has any: the run says so.
            assert_eq!(of("bp dsp", method), Some(true));
            assert_eq!(of("bp dsp --replicas 1", method), Some(true));
        }
        assert_eq!(
            request("bp dp(2)")
                .unwrap()
                .values("dp(2)", 1)
                .sync_batch_norm,
            None
        );
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
            assert!(error.to_string().starts_with("--straggler and --slowdowns"));
        }
    }

    #[test]
    fn methods_may_stand_between_flags() {
        let found = request("bp --epochs 2 dsp --seeds 1,2 dsp(1,0;2,0) --seconds 3").unwrap();
        assert_eq!(found.methods, ["bp", "dsp", "dsp(1,0;2,0)"]);
        assert_eq!(found.seeds, [1, 2]);
        assert_eq!(found.train.max_seconds, Some(3.0));
        assert_eq!(
            found.straggler(50.0).unwrap(),
            "stage=*,probability=0.3333,slowdown=50%"
        );
        assert_eq!(found.straggler(0.0), None);
    }

    #[test]
    fn a_request_survives_its_file_and_knows_what_differs() {
        let one = request("bp dsp --slowdowns 0,12.5 --lr 0.05").unwrap();
        let text = toml::to_string(&one).unwrap();
        let read: Request = toml::from_str(&text).unwrap();
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
