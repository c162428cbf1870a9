//! What an engineer should look at.

use std::time::Duration;

use stagger_data::shown_text;

use crate::draw::duration;
use crate::seen::RunSeen;

/// The shortest silence that is worth a word.
const SILENCE: Duration = Duration::from_secs(30);
/// How many times longer than the longest pause between two batches so far a silence has to be: an evaluation may be in that.
const LONGER: u32 = 3;
/// A stage is a straggler when it works for this share of the time,
const STRAGGLER_BUSY: f64 = 0.75;
/// and for so much more of it than each of the others.
const STRAGGLER_AHEAD: f64 = 0.25;

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    Note,
    Warning,
    Bad,
}

/// A sentence on what is unusual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub weight: Weight,
    pub sentence: String,
}

/// The silence after which a run is taken to hang or to have been killed.
pub(crate) fn longest_silence(seen: &RunSeen) -> Duration {
    SILENCE.max(seen.longest_pause.saturating_mul(LONGER))
}

/// What is unusual, the worst first. `silence` is the time since the last news.
pub(crate) fn alerts(seen: &RunSeen, silence: Duration) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let mut say = |weight, sentence| alerts.push(Alert { weight, sentence });
    if let Some(end) = &seen.end
        && let Some(error) = &end.error
    {
        say(
            Weight::Bad,
            format!("the run failed: {}", shown_text(error)),
        );
    }
    if let Some(what) = &seen.stalled {
        say(Weight::Bad, format!("nothing moves: {what}"));
    } else if seen.end.is_none() && silence > longest_silence(seen) {
        let long = duration(silence);
        let what = match seen.is_live {
            true => format!("no stage has completed anything for {long}"),
            false => format!("no news for {long}: it hangs or was killed"),
        };
        let longest = duration(seen.longest_pause);
        let sentence = format!("{what} (longest pause before: {longest})");
        say(Weight::Bad, sentence);
    }
    if let Some(what) = &seen.fault {
        say(Weight::Bad, what.clone());
    }
    if let Some(back) = &seen.rollback {
        let rate = (back.rate_factor).map_or(String::new(), |factor| {
            format!("; learning rates × {factor}")
        });
        let times = match back.times {
            0 | 1 => String::new(),
            times => format!(" ({times} rollbacks so far)"),
        };
        let sentence = format!(
            "the loss was not finite: rolled back to version {}{rate}{times}",
            back.version
        );
        say(Weight::Warning, sentence);
    }
    if let Some(last) = seen.last_skipped {
        let sentence = match seen.skipped {
            1 => format!("batch {last} was left out: its loss was not finite"),
            count => {
                format!("{count} batches were left out, the last one {last}: losses not finite")
            }
        };
        say(Weight::Warning, sentence);
    }
    if let Some(spike) = seen.loss_watch.spike().filter(|_| !seen.is_emulated) {
        let sentence = format!(
            "loss spike at batch {}: {:.3} rose to {:.3}",
            spike.batch, spike.from, spike.to
        );
        say(Weight::Warning, sentence);
    }
    if let Some(sentence) = straggler(seen) {
        say(Weight::Warning, sentence);
    }
    if let Some(version) = seen.halts_at.filter(|_| seen.end.is_none()) {
        say(
            Weight::Note,
            format!("interrupted: halting at version {version}"),
        );
    }
    alerts
}

/// One stage that is far busier than all others.
fn straggler(seen: &RunSeen) -> Option<String> {
    let busy: Option<Vec<f64>> = seen.stages.iter().map(|stage| stage.busy).collect();
    let busy = busy.filter(|busy| busy.len() > 1)?;
    let (stage, most) = (busy.iter().copied().enumerate()).max_by(|a, b| a.1.total_cmp(&b.1))?;
    let others = busy.iter().enumerate().filter(|(at, _)| *at != stage);
    let next = others.map(|(_, share)| *share).fold(0.0, f64::max);
    if most < STRAGGLER_BUSY || most - next < STRAGGLER_AHEAD {
        return None;
    }
    let cause = match seen.stages[stage].is_delayed {
        true => " (slowed down by --straggler)",
        false => "; another --balance may even it out",
    };
    Some(format!(
        "stage {stage} is the straggler: busy {:.0} %, the others {:.0} % at most{cause}",
        100.0 * most,
        100.0 * next
    ))
}

/// Batches over which the present loss is averaged, roughly.
const NOW: f64 = 5.0;
/// Batches over which it is compared with the usual, roughly.
const USUAL: f64 = 50.0;
/// Batches before which everything may happen.
const BEGINNING: usize = 50;
/// Batches for which a spike is shown.
const SHOWN_FOR: usize = 200;

/// Notices a loss that rises far above what it was: two running means of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LossWatch {
    count: usize,
    now: f64,
    usual: f64,
    is_high: bool,
    spike: Option<Spike>,
}

/// A loss that has risen at a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spike {
    pub batch: usize,
    pub from: f64,
    /// The highest mean since.
    pub to: f64,
}

impl LossWatch {
    pub fn take(&mut self, batch: usize, loss: f64) {
        if self.count == 0 {
            (self.now, self.usual) = (loss, loss);
        }
        self.count += 1;
        self.now += (loss - self.now) / NOW;
        let is_high = self.now > 1.5 * self.usual + 0.1;
        match &mut self.spike {
            Some(spike) if is_high && self.is_high => spike.to = spike.to.max(self.now),
            _ if is_high && self.count > BEGINNING => {
                self.spike = Some(Spike {
                    batch,
                    from: self.usual,
                    to: self.now,
                });
            }
            Some(spike) if batch > spike.batch + SHOWN_FOR => self.spike = None,
            _ => {}
        }
        self.is_high = is_high;
        self.usual += (loss - self.usual) / USUAL;
    }

    /// The last one, as long as it is of interest.
    pub fn spike(&self) -> Option<Spike> {
        self.spike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(losses: impl IntoIterator<Item = f64>) -> LossWatch {
        let mut watch = LossWatch::default();
        for (batch, loss) in losses.into_iter().enumerate() {
            watch.take(batch, loss);
        }
        watch
    }

    #[test]
    fn a_loss_that_falls_or_swings_is_no_spike() {
        let falls = (0..400).map(|batch| 2.3 * (-0.01 * f64::from(batch)).exp());
        assert_eq!(watched(falls).spike(), None);
        let swings = (0..400).map(|batch| 0.5 + 0.15 * f64::from(batch % 7));
        assert_eq!(watched(swings).spike(), None);
    }

    #[test]
    fn a_loss_that_rises_far_is_one_for_a_while() {
        let with_spike = |after| {
            let steady = std::iter::repeat_n(0.3, 100);
            let high = std::iter::repeat_n(2.0, 10);
            steady.chain(high).chain(std::iter::repeat_n(0.3, after))
        };
        let spike = watched(with_spike(50)).spike().unwrap();
        assert!((100..105).contains(&spike.batch), "{spike:?}");
        assert!(
            (spike.from - 0.3).abs() < 0.1 && spike.to > 1.5,
            "{spike:?}"
        );
        assert_eq!(watched(with_spike(300)).spike(), None);
    }
}
