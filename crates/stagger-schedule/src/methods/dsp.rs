//! DSP: Diversely Stale Parameters, with the idea of Layer-wise Staleness.
//!
//! Source: Xu, Huo, Huang, "On the Acceleration of Deep Learning Model Parallelism with
//! Staleness", CVPR 2020, arXiv 1909.02625; our reading of it is docs/algorithm.md, "What stage k
//! does".
//!
//! Notation: `dsp(c_0,…;m_0,…)`, `dsp(m=m_0,…)`, `dsp`. In the first, `b` is what `c` leaves of what
//! is in flight, as in docs/algorithm.md, "What stage k does"; in the second, both queues have room
//! for all of it. That holds no more memory, as the program bounds what is in flight; but with
//! halves of it, either stage waits for room while there is work for it, and staleness above 2 per
//! hop brings nothing against stragglers. Locks removed: forward where c ≥ 1, backward where b ≥ 1.
//! Cost: the inputs of m + 1 batches per stage, one weight copy, and a second forward pass on every
//! stage with m > 0.

use std::sync::Arc;

use super::Built;
use super::dsp_relations::{self, Notations};
use crate::method::delayed_policy;
use crate::notation::{Arguments, Fault, Number};
use crate::{MAX_STAGES, MAX_STALENESS, Method, NotationProblem, Relation, StagePolicy};

/// DSP with the staleness `m` of every stage, and the queue lengths `c` where they are given; both
/// of length K.
#[derive(Debug)]
struct Dsp {
    c: Option<Vec<usize>>,
    m: Vec<usize>,
}

/// The smallest lock-free configuration, written out where that is short.
pub(super) fn example(stages: Option<usize>) -> String {
    match stages.unwrap_or(3) {
        stages @ 1..=8 => Dsp::smallest_lock_free(stages).notation(),
        _ => "dsp".to_owned(),
    }
}

/// Checks the rules of docs/algorithm.md, "What stage k does"; every fault points at the number
/// that breaks one.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let [c, m] = arguments.lists(["c", "m"])?;
    let dsp = match (c, m) {
        (None, None) => {
            let unknown = NotationProblem::StagesUnknown { method: "dsp" };
            Dsp::smallest_lock_free(stages.ok_or(Fault::at(1, unknown))?)
        }
        (Some(c), None) => {
            return Err(c.fault(NotationProblem::MissingList { name: "m" }));
        }
        (None, Some(m)) => {
            let m = check_staleness(&m.whole_numbers(MAX_STALENESS)?, stages)?;
            Dsp { c: None, m }
        }
        (Some(c), Some(m)) => {
            let c = c.whole_numbers(MAX_STALENESS)?;
            let m = m.whole_numbers(MAX_STALENESS)?;
            check_lengths(&c, &m, stages)?;
            let m = check_staleness(&m, stages)?;
            let c = Some(check_queues(&c, &m)?);
            Dsp { c, m }
        }
    };
    Ok(Arc::new(dsp))
}

/// `c` and `m` are equally long. If not, the one that does not fit the number of stages is pointed
/// at; without that number, `m`.
fn check_lengths(c: &[Number], m: &[Number], stages: Option<usize>) -> Result<(), Fault> {
    if c.len() == m.len() {
        return Ok(());
    }
    let wrong = if stages == Some(m.len()) { c } else { m };
    Err(wrong[0].fault(NotationProblem::Lengths {
        c: c.len(),
        m: m.len(),
    }))
}

/// `m` has one number per stage, does not increase, and ends with 0.
fn check_staleness(m: &[Number], stages: Option<usize>) -> Result<Vec<usize>, Fault> {
    let found = m.len();
    if found > MAX_STAGES {
        return Err(m[MAX_STAGES].fault(NotationProblem::StageCount { found }));
    }
    if let Some(expected) = stages.filter(|&expected| expected != found) {
        return Err(m[0].fault(NotationProblem::StageMismatch { found, expected }));
    }
    for (stage, pair) in m.windows(2).enumerate() {
        let (below, found) = (pair[0].value, pair[1].value);
        if found > below {
            let stage = stage + 1;
            return Err(pair[1].fault(NotationProblem::Increasing {
                stage,
                found,
                below,
            }));
        }
    }
    check_last("m", m)?;
    Ok(m.iter().map(|number| number.value).collect())
}

/// `c` leaves a backward queue of at least 0 at every hop, and ends with 0.
fn check_queues(c: &[Number], m: &[usize]) -> Result<Vec<usize>, Fault> {
    check_last("c", c)?;
    for (stage, (number, gap)) in c.iter().zip(gaps(m)).enumerate() {
        if number.value > gap {
            let found = number.value;
            return Err(number.fault(NotationProblem::QueueTooLong { stage, found, gap }));
        }
    }
    Ok(c.iter().map(|number| number.value).collect())
}

/// The last stage has no stage above it to run ahead of.
fn check_last(name: &'static str, list: &[Number]) -> Result<(), Fault> {
    match list.last() {
        Some(last) if last.value != 0 => Err(last.fault(NotationProblem::LastNotZero {
            name,
            found: last.value,
        })),
        _ => Ok(()),
    }
}

/// `m_k − m_{k+1}` of every stage: what may be in flight between it and the next. 0 at the last.
fn gaps(m: &[usize]) -> impl Iterator<Item = usize> {
    let above = m.iter().skip(1).chain([&0]);
    m.iter().zip(above).map(|(m, above)| m - above)
}

impl Dsp {
    /// `c = 1` and `b = 1`, hence two units of staleness, at every hop.
    fn smallest_lock_free(stages: usize) -> Self {
        let above = |stage| stages - 1 - stage;
        Dsp {
            c: Some((0..stages).map(|stage| above(stage).min(1)).collect()),
            m: (0..stages).map(|stage| 2 * above(stage)).collect(),
        }
    }
}

impl Method for Dsp {
    fn name(&self) -> &'static str {
        "dsp"
    }

    fn title(&self) -> &'static str {
        "Diversely Stale Parameters"
    }

    fn notation(&self) -> String {
        match &self.c {
            Some(c) => notation(c, &self.m),
            None => notation_of_staleness(&self.m),
        }
    }

    fn stages(&self) -> usize {
        self.m.len()
    }

    fn delay(&self, stage: usize) -> usize {
        self.m[stage]
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        let policy = delayed_policy(self, stage, micro_batches);
        let (forward_queue, backward_queue) = match &self.c {
            Some(c) => (c[stage], policy.in_flight - c[stage]),
            None => (policy.in_flight, policy.in_flight),
        };
        StagePolicy {
            forward_queue,
            backward_queue,
            ..policy
        }
    }

    fn meaning(&self) -> String {
        if self.m[0] == 0 {
            return if self.stages() == 1 {
                "One stage, no staleness: plain training on one device."
            } else {
                "No staleness anywhere: this is backpropagation, one stage at a time."
            }
            .to_owned();
        }
        "Stage k forwards batch n + m_k, keeps only its input and sends the output up; then it runs \
         batch n forward again at its newest parameters, pulls the gradient from above back \
         through that, sends its own gradient down, and updates at once. The gradient of batch n \
         thus sees outputs of lower stages that were computed some updates ago: the lower the \
         stage, the staler."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let stages = self.stages();
        let notations = Notations {
            here: self.notation(),
            smallest: example(Some(stages)),
            features_replay: notation_of_staleness(&(0..stages).rev().collect::<Vec<_>>()),
        };
        dsp_relations::of(&self.m, &notations)
    }
}

/// The full form: `dsp(1,1,0;4,2,0)`.
fn notation(c: &[usize], m: &[usize]) -> String {
    format!("dsp({};{})", comma_separated(c), comma_separated(m))
}

/// The short form, whose queues have room for everything in flight: `dsp(m=4,2,0)`.
pub(super) fn notation_of_staleness(m: &[usize]) -> String {
    format!("dsp(m={})", comma_separated(m))
}

fn comma_separated(numbers: &[usize]) -> String {
    numbers
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
