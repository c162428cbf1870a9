//! From a notation to a schedule, and back.

use std::fmt;

use crate::notation::{self, Fault};
use crate::{MAX_STAGES, NotationError, NotationProblem, Schedule, methods, mitigations};

impl Schedule {
    /// Reads a schedule from its notation, for `stages` stages if that number is known.
    ///
    /// The notation is the name of a method, with arguments in parentheses where it has any:
    ///
    /// | notation | meaning |
    /// | --- | --- |
    /// | `bp` | backpropagation, one stage at a time |
    /// | `gpipe(4)`, `1f1b(4)` | a batch travels in 4 micro-batches, with a flush after each batch |
    /// | `zb(4)` | the order of `1f1b(4)`, with split backward passes |
    /// | `pipedream`, `ddg` | stale by K−1−k, with stashed weights |
    /// | `2bw(4)` | PipeDream-2BW: an update every 4 micro-batches, two weight buffers |
    /// | `pipemare(anneal=2000, decay=0.5, sync=0)` | stale by K−1−k, with PipeMare's T1, T2, T3 |
    /// | `fr` | Features Replay: stale by K−1−k, with recompute |
    /// | `fdg(beta=0.9)` | stale by 2(K−1−k), with stashed weights and shrunk gradients |
    /// | `adl(4, beta=0.9)` | the same with an update every 4 micro-batches |
    /// | `dni` | decoupled by synthetic gradients |
    /// | `dsp(1,1,0;4,2,0)` | DSP with queue lengths `c` and staleness `m` of every stage |
    /// | `dsp(m=4,2,0)` | the same `m`; both queues have room for all that is in flight |
    /// | `dsp` | the smallest lock-free DSP: `c = 1` and two units of `m` per hop |
    ///
    /// Mitigations of staleness follow behind plus signs, in any order:
    ///
    /// | notation | meaning |
    /// | --- | --- |
    /// | `+ accumulate(4)` | an update sees 4 batches; each travels alone |
    /// | `+ predict`, `+ predict(geometric)` | forward at predicted weights: [`Prediction`] |
    /// | `+ shrink(0.9)` | smaller gradients below: [`Shrinking`] |
    /// | `+ reschedule(2000)` | smaller learning rates at first: [`Rescheduling`] |
    /// | `+ gap-aware` | smaller gradients the further weights have moved: [`Damping`] |
    /// | `+ look-ahead`, `+ look-ahead(0.95)` | momentum that rises with staleness: [`LookAhead`] |
    /// | `+ split` | the gradient of the input goes down before those of weights are computed |
    ///
    /// Letter case and white space do not matter.
    ///
    /// [`Prediction`]: crate::Prediction
    /// [`Shrinking`]: crate::Shrinking
    /// [`Rescheduling`]: crate::Rescheduling
    /// [`Damping`]: crate::Damping
    /// [`LookAhead`]: crate::LookAhead
    ///
    /// ```
    /// use stagger_schedule::Schedule;
    ///
    /// let schedule = Schedule::parse("DSP", Some(3))?;
    /// assert_eq!(schedule.to_string(), "dsp(1,1,0;4,2,0)");
    ///
    /// let error = Schedule::parse("dsp(1,1,0;4,2)", None).unwrap_err();
    /// assert_eq!(error.column(), 11);
    /// # Ok::<(), stagger_schedule::NotationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the text is not a schedule, describes an impossible one, does not fit `stages`, or needs
    /// `stages` and does not get it. The error names the column and shows a right example.
    pub fn parse(text: &str, stages: Option<usize>) -> Result<Self, NotationError> {
        let example = methods::default_example(stages);
        let (call, added) = notation::read(text).map_err(|fault| fault.in_text(text, &example))?;
        let entry = methods::find(&call.name).map_err(|fault| fault.in_text(text, &example))?;
        let example = match is_right((entry.example)(stages).as_str(), entry, stages) {
            true => (entry.example)(stages),
            false => example,
        };
        let mut schedule = check_stages(stages)
            .and_then(|()| (entry.build)(&call.arguments, stages))
            .map(Schedule::from)
            .map_err(|fault| fault.in_text(text, &example))?;
        for call in &added {
            mitigations::add(call, &mut schedule).map_err(|fault| fault.in_text(text, &example))?;
        }
        Ok(schedule)
    }

    /// One right notation of every method, for `stages` stages if that number is known.
    pub fn examples(stages: Option<usize>) -> Vec<String> {
        methods::examples(stages)
    }
}

/// Whether a method's example fits the number of stages that is asked for, if any.
fn is_right(example: &str, entry: &methods::Entry, stages: Option<usize>) -> bool {
    if stages.is_none() || check_stages(stages).is_err() {
        return true;
    }
    notation::read(example).is_ok_and(|(call, _)| (entry.build)(&call.arguments, stages).is_ok())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = mitigations::notation(self.accumulated, &self.added, self.split);
        f.pad(&(self.method.notation() + &added))
    }
}

/// The number of stages comes from beside the notation, so a wrong one is reported at its start.
fn check_stages(stages: Option<usize>) -> Result<(), Fault> {
    match stages {
        Some(found) if !(1..=MAX_STAGES).contains(&found) => {
            Err(Fault::at(1, NotationProblem::StageCount { found }))
        }
        _ => Ok(()),
    }
}
