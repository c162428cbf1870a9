//! A batch in micro-batches: the samples of each, and the sums that are complete at the end of the batch.

use std::ops::Range;

use stagger_engine::HostTensor;

use crate::fault::FeedError;
use crate::feed::{Inputs, Labels};
use stagger_schedule::Place;

/// One micro-batch of one batch: what travels through the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub batch: usize,
    pub micro: usize,
}

impl Unit {
    /// The number of the micro-batch over the whole run, with `of` to a batch.
    pub fn number(self, of: usize) -> usize {
        self.batch * of + self.micro
    }

    /// The micro-batch of that number.
    pub fn of_number(number: usize, of: usize) -> Self {
        Self {
            batch: number / of,
            micro: number % of,
        }
    }
}

/// The samples of micro-batch `micro` of `of`, in a batch of `samples`: as even as whole samples allow.
fn samples_of(micro: usize, of: usize, samples: usize) -> Range<usize> {
    micro * samples / of..(micro + 1) * samples / of
}

/// The samples of a replica's share of a micro-batch.
fn share_of(micro: usize, of: usize, place: Place, samples: usize) -> Range<usize> {
    let whole = samples_of(micro, of, samples);
    let rows = place.rows(whole.len());
    whole.start + rows.start..whole.start + rows.end
}

/// Inputs, micro-batch by micro-batch: of each, the rows of one replica.
pub(crate) struct SplitInputs {
    pub whole: Box<dyn Inputs>,
    micro_batches: usize,
    place: Place,
    /// The batch of the last micro-batch, if more of it are to come.
    present: Option<(usize, HostTensor)>,
}

impl SplitInputs {
    pub fn new(whole: Box<dyn Inputs>, micro_batches: usize, place: Place) -> Self {
        Self {
            whole,
            micro_batches,
            place,
            present: None,
        }
    }

    /// Inputs of a micro-batch. A batch that travels whole is not copied.
    pub fn take(&mut self, unit: Unit) -> Result<HostTensor, FeedError> {
        let Unit { batch, micro } = unit;
        if self.micro_batches * self.place.of == 1 {
            return self.whole.train(batch);
        }
        let tensor = match self.present.take() {
            Some((present, tensor)) if present == batch => tensor,
            _ => self.whole.train(batch)?,
        };
        tensor.check()?;
        let samples = *tensor.shape.first().ok_or("a batch without samples")?;
        let part = tensor.rows(share_of(micro, self.micro_batches, self.place, samples));
        if micro + 1 < self.micro_batches {
            self.present = Some((batch, tensor));
        }
        Ok(part)
    }
}

/// Labels, likewise.
pub(crate) struct SplitLabels {
    pub whole: Box<dyn Labels>,
    micro_batches: usize,
    place: Place,
    present: Option<(usize, BatchLabels)>,
}

/// The labels of a whole batch.
#[derive(Clone)]
struct BatchLabels {
    labels: Vec<usize>,
    own: f64,
}

/// The labels of a share of a micro-batch, and what part of its batch that is.
pub(crate) struct LabelledShare {
    pub labels: Vec<usize>,
    /// Those of the samples that they are mixed with, and the share of each sample that is its own.
    pub mixed: Option<(Vec<usize>, f64)>,
    /// Samples of it over samples of its batch; 1 for a whole batch.
    pub share: f64,
}

impl SplitLabels {
    pub fn new(whole: Box<dyn Labels>, micro_batches: usize, place: Place) -> Self {
        Self {
            whole,
            micro_batches,
            place,
            present: None,
        }
    }

    pub fn take(&mut self, unit: Unit) -> Result<LabelledShare, FeedError> {
        let Unit { batch, micro } = unit;
        let all = match self.present.take() {
            Some((present, all)) if present == batch => all,
            _ => BatchLabels {
                labels: self.whole.train(batch)?,
                own: self.whole.own_share(batch)?,
            },
        };
        let samples = all.labels.len();
        let range = share_of(micro, self.micro_batches, self.place, samples);
        let other = |sample: usize| all.labels[(sample + samples - 1) % samples];
        let mixed = (all.own < 1.0).then(|| (range.clone().map(other).collect(), all.own));
        if self.micro_batches * self.place.of == 1 {
            return Ok(LabelledShare {
                labels: all.labels,
                mixed,
                share: 1.0,
            });
        }
        let share = range.len() as f64 / samples.max(1) as f64;
        let labels = all.labels[range].to_vec();
        self.present = Some((batch, all));
        Ok(LabelledShare {
            labels,
            mixed,
            share,
        })
    }
}

/// Sums over the micro-batches of a batch that the last stage has computed so far.
#[derive(Default)]
pub(crate) struct BatchScore {
    micro_batches: usize,
    pub samples: usize,
    loss_sum: f64,
    pub correct_top1: usize,
    pub correct_top5: usize,
    /// A loss that is not finite, if there was one.
    pub non_finite: Option<f32>,
}

impl BatchScore {
    /// Adds a micro-batch, by its mean loss.
    pub fn add(&mut self, samples: usize, loss: f32, correct_top1: usize, correct_top5: usize) {
        self.micro_batches += 1;
        if !loss.is_finite() {
            self.non_finite = Some(loss);
        }
        self.samples += samples;
        self.loss_sum += f64::from(loss) * samples as f64;
        self.correct_top1 += correct_top1;
        self.correct_top5 += correct_top5;
    }

    /// The sums of the whole batch, once `of` micro-batches have been added; those of the next one then start at 0.
    pub fn complete(&mut self, of: usize) -> Option<Self> {
        (self.micro_batches == of).then(|| std::mem::take(self))
    }

    /// The losses of all samples.
    pub fn loss_sum(&self) -> f64 {
        self.loss_sum
    }

    /// Mean loss over the samples.
    pub fn loss(&self) -> f32 {
        (self.loss_sum / self.samples as f64) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_in_one_micro_batch() {
        for samples in 1..40 {
            for of in 1..=samples {
                let parts: Vec<_> = (0..of).map(|i| samples_of(i, of, samples)).collect();
                assert_eq!(parts.concat_ranges(), (0..samples).collect::<Vec<_>>());
                let (least, most) = (samples / of, samples.div_ceil(of));
                assert!(
                    parts
                        .iter()
                        .all(|part| (least..=most).contains(&part.len()))
                );
            }
        }
    }

    const ALONE: Place = Place {
        stage: 0,
        replica: 0,
        of: 1,
    };

    trait ConcatRanges {
        fn concat_ranges(&self) -> Vec<usize>;
    }

    impl ConcatRanges for Vec<Range<usize>> {
        fn concat_ranges(&self) -> Vec<usize> {
            self.iter().cloned().flatten().collect()
        }
    }

    /// Counts how often a batch is asked for.
    struct Counted(Vec<usize>);

    impl Inputs for Counted {
        fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
            self.0.push(batch);
            let data = (0..10).map(|i| (batch * 100 + i) as f32).collect();
            Ok(HostTensor::new(vec![5, 2], data)?)
        }

        fn evaluation(&mut self, _: usize) -> Result<Option<HostTensor>, FeedError> {
            Ok(None)
        }
    }

    impl Labels for Counted {
        fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
            self.0.push(batch);
            Ok((batch * 10..batch * 10 + 5).collect())
        }

        fn evaluation(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn inputs_and_labels_are_split_alike() {
        let mut inputs = SplitInputs::new(Box::new(Counted(vec![])), 2, ALONE);
        let mut labels = SplitLabels::new(Box::new(Counted(vec![])), 2, ALONE);
        for batch in 0..2 {
            for (micro, range) in [(0, 0..2), (1, 2..5)] {
                let unit = Unit { batch, micro };
                let found = inputs.take(unit).unwrap();
                assert_eq!(found.shape, [range.len(), 2]);
                assert_eq!(found.data[0], (batch * 100 + 2 * range.start) as f32);
                let found = labels.take(unit).unwrap();
                assert_eq!(found.share, range.len() as f64 / 5.0);
                let expected: Vec<_> = range.map(|i| batch * 10 + i).collect();
                assert_eq!(found.labels, expected);
            }
        }
    }

    /// Labels of which every sample is mixed with the one before it.
    struct Mixed(Counted);

    impl Labels for Mixed {
        fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
            Labels::train(&mut self.0, batch)
        }

        fn own_share(&mut self, batch: usize) -> Result<f64, FeedError> {
            Ok(0.25 + 0.5 * batch as f64)
        }

        fn evaluation(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_sample_is_mixed_with_the_one_before_it_in_the_whole_batch() {
        let place = |replica| Place {
            stage: 0,
            replica,
            of: 2,
        };
        let others = |micro_batches, place, micro, batch| {
            let labels = Box::new(Mixed(Counted(vec![])));
            let mut labels = SplitLabels::new(labels, micro_batches, place);
            labels.take(Unit { batch, micro }).unwrap().mixed
        };
        assert_eq!(others(1, ALONE, 0, 0), Some((vec![4, 0, 1, 2, 3], 0.25)));
        assert_eq!(others(2, ALONE, 0, 1), Some((vec![14, 10], 0.75)));
        assert_eq!(others(2, ALONE, 1, 1), Some((vec![11, 12, 13], 0.75)));
        let shares = [0, 1].map(|replica| others(1, place(replica), 0, 0).unwrap().0);
        assert_eq!(shares.concat(), [4, 0, 1, 2, 3]);
        let mut plain = SplitLabels::new(Box::new(Counted(vec![])), 1, ALONE);
        assert_eq!(plain.take(Unit { batch: 0, micro: 0 }).unwrap().mixed, None);
    }

    #[test]
    fn a_batch_is_scored_when_all_of_it_has_come() {
        let mut score = BatchScore::default();
        score.add(1, 4.0, 1, 1);
        assert!(score.complete(2).is_none());
        score.add(3, 2.0, 0, 2);
        let whole = score.complete(2).unwrap();
        assert_eq!((whole.loss(), whole.samples), (2.5, 4));
        assert_eq!((whole.correct_top1, whole.correct_top5), (1, 3));
        score.add(1, 0.1, 0, 0);
        assert_eq!(score.complete(1).unwrap().loss(), 0.1);
    }
}
