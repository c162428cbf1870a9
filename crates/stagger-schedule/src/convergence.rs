//! Which methods docs/theory.md proves to converge.

use crate::{BackwardWeights, ForwardWeights, GradientSource, Kept, Schedule};

/// How the theorems of docs/theory.md apply to a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convergence {
    /// Both passes run at the newest weights, as (1) and (2) have them. Without staleness that is SGD.
    Newest,
    /// The backward pass runs at the weights of the forward pass: by (28), with `M` in the place of `B`.
    Stashed,
}

impl Convergence {
    /// How the theorems apply.
    ///
    /// # Errors
    ///
    /// Why they do not, as a clause: `several micro-batches make one update`.
    pub fn of(schedule: &Schedule) -> Result<Self, &'static str> {
        if schedule.synthesizes() {
            return Err("its stages guess gradients");
        }
        if !schedule.corrections().is_empty() {
            return Err("it corrects weights, gradients or rates for their staleness");
        }
        if schedule.micro_batches() > 1 {
            return Err("several micro-batches make one update");
        }
        if schedule.replicas().is_some_and(|replicas| replicas > 1) {
            return Err("batch normalisation sees the share of one replica");
        }
        let policies = schedule.policies();
        let stale = || policies.iter().filter(|policy| policy.staleness > 0);
        let runs_forward_now = policies.iter().all(|policy| {
            policy.forward_weights == ForwardWeights::Current
                && policy.gradient == GradientSource::Above
        });
        let is_stashed = |kept, weights| kept == Kept::Graph && weights == BackwardWeights::Stashed;
        let is_newest = |kept, weights| kept == Kept::Input && weights == BackwardWeights::Current;
        if runs_forward_now
            && stale().all(|policy| is_newest(policy.kept, policy.backward_weights))
            && policies.last().is_none_or(|last| last.staleness == 0)
        {
            return Ok(Self::Newest);
        }
        match runs_forward_now
            && stale().all(|policy| is_stashed(policy.kept, policy.backward_weights))
        {
            true => Ok(Self::Stashed),
            false => Err("its passes run at other weights"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_the_page() {
        for (notation, expected) in [
            ("bp", Ok(Convergence::Newest)),
            ("dsp", Ok(Convergence::Newest)),
            ("dsp(m=4,2,0)", Ok(Convergence::Newest)),
            ("fr", Ok(Convergence::Newest)),
            ("pipedream", Ok(Convergence::Stashed)),
            ("ddg", Ok(Convergence::Stashed)),
            ("fdg", Ok(Convergence::Stashed)),
            ("fdg(beta=0.9)", Err("corrects")),
            ("dsp + predict", Err("corrects")),
            ("dsp + gap-aware", Err("corrects")),
            ("pipemare", Err("corrects")),
            ("dsp + accumulate(2)", Err("micro-batches")),
            ("gpipe(4)", Err("micro-batches")),
            ("1f1b(4)", Err("micro-batches")),
            ("2bw(4)", Err("micro-batches")),
            ("adl(4)", Err("micro-batches")),
            ("dni", Err("guess")),
        ] {
            let found = Convergence::of(&Schedule::parse(notation, Some(3)).unwrap());
            match expected {
                Ok(expected) => assert_eq!(found, Ok(expected), "{notation}"),
                Err(word) => assert!(found.is_err_and(|why| why.contains(word)), "{notation}"),
            }
        }
        let replicas = Schedule::parse("dp(2)", None).unwrap();
        assert!(Convergence::of(&replicas).is_err());
        let late = Schedule::parse("2bw(1)", Some(1));
        assert!(late.is_err() || Convergence::of(&late.unwrap()).is_err());
    }
}
