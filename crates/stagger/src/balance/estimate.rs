//! What a cut goes by where nothing was measured: an estimate of what blocks take, which depends on how an engine makes its sums.

use stagger_engine::Precision;
use stagger_model::{Balance, CostModel, Cut, CutError, Model};
use stagger_schedule::Schedule;

use super::{Computes, ComputesAt, FirstCut, ToCut, first_cut};
use crate::durations::check_batch_size;
use crate::error::Error;
use crate::job::{self, CPU, check_shares};
use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// What is said of the engine that times are estimated for: those of [`TrainingOptions`] that decide about an estimate, with the same
/// defaults.
///
/// ```
/// use stagger::EstimateFor;
///
/// let direct = EstimateFor {
///     winograd: Some(false),
///     ..EstimateFor::default()
/// };
/// assert_eq!(direct.estimate(2)?.computes, "engine cpu with direct sums");
/// # Ok::<(), stagger::Refusal>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EstimateFor {
    /// The engine of all stages.
    pub engine: Option<String>,
    /// The engine of each stage, in place of `engine`.
    pub engines: Option<Vec<String>>,
    /// Whether engine `cpu` makes the sums of 3×3 convolutions by Winograd's method.
    pub winograd: Option<bool>,
}

/// How times are estimated.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// What the layers take.
    pub costs: CostModel,
    /// What that is an estimate of, for people: `engine cpu`.
    pub computes: String,
    /// The engine of each stage.
    pub engines: Vec<String>,
    /// Whether engine `cpu` makes the sums of 3×3 convolutions by Winograd's method, where it has any stage.
    pub winograd: Option<bool>,
}

/// A cut that nothing was measured for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmeasuredCut {
    /// The cut.
    pub cut: Cut,
    /// A line for people where it is by a profile of another engine than the one that is asked about.
    pub misfit: Option<String>,
}

impl EstimateFor {
    /// The first of these options that is said, by its name.
    #[must_use]
    pub fn first_said(&self) -> Option<&'static str> {
        let said = [
            ("engine", self.engine.is_some()),
            ("engines", self.engines.is_some()),
            ("winograd", self.winograd.is_some()),
        ];
        said.into_iter()
            .find_map(|(option, is_said)| is_said.then_some(option))
    }

    /// How a run of so many stages with these options estimates what its blocks take.
    ///
    /// # Errors
    /// A [`Refusal`] of engines that such a run is refused, too.
    pub fn estimate(&self, stages: usize) -> Result<Estimate, Refusal> {
        let said = TrainingOptions {
            engine: self.engine.clone(),
            engines: self.engines.clone(),
            winograd: self.winograd,
            ..TrainingOptions::default()
        };
        let mut options = said.or_defaults();
        job::choose_engines(&mut options, stages)?;
        let costs = cost_model(&options);
        let computes = match (&options.engines, &options.engine) {
            (Some(engines), _) => format!("engines {}", engines.join(",")),
            (None, Some(engine)) if engine == CPU && options.winograd == Some(false) => {
                format!("engine {engine} with direct sums")
            }
            (None, engine) => format!("engine {}", engine.as_deref().unwrap_or(CPU)),
        };
        let winograd = options.winograd;
        let engines = match (options.engines, options.engine) {
            (Some(engines), _) => engines,
            (None, engine) => vec![engine.unwrap_or_else(|| CPU.to_owned()); stages],
        };
        Ok(Estimate {
            costs,
            computes,
            engines,
            winograd,
        })
    }
}

/// How times are estimated for what these options run on. Emulated stages have no engine: they stand for those of the default one.
pub(crate) fn cost_model(options: &TrainingOptions) -> CostModel {
    let is_cpu = options.engines.is_none() && options.engine.as_deref() == Some(CPU);
    if options.emulate.is_some() || (is_cpu && options.winograd == Some(true)) {
        CostModel::default()
    } else {
        CostModel::DIRECT_SUMS
    }
}

/// The cut that a run with momentum takes of a model, without measuring anything.
///
/// # Errors
/// When the batch size is none or leaves a share of it without a sample, when the balance does not fit model or schedule, when the profile
/// in its file is one of something else, and for [`Balance::Profile`], which is measured.
pub fn cut_without_measuring(
    balance: &Balance,
    model: &Model,
    schedule: &Schedule,
    batch_size: usize,
    estimate: &Estimate,
) -> Result<UnmeasuredCut, Error> {
    check_batch_size(batch_size)?;
    check_shares(model, schedule, batch_size)?;
    if *balance == Balance::Profile {
        return Err(CutError::NotMeasured {
            balance: balance.to_string(),
        }
        .into());
    }
    let engines = &estimate.engines;
    let place = |engine: &String| ComputesAt {
        engine: engine.clone(),
        threads: None,
        winograd: estimate.winograd.filter(|_| engine == CPU),
    };
    let computes = Computes {
        places: engines.iter().map(place).collect(),
        // Engine `cpu` computes in f32 alone, and of others it is not said.
        precision: (engines.iter().all(|engine| engine == CPU)).then_some(Precision::F32),
    };
    let run = ToCut {
        model,
        schedule,
        replicas: None,
        batch_size,
        optimizer_slots: 1,
        computes: Some(&computes),
    };
    let FirstCut { cut, misfit, .. } = first_cut(balance, &run, &estimate.costs)?;
    Ok(UnmeasuredCut { cut, misfit })
}
