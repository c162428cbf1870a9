//! Subsampling and pooling against their definitions.

use std::ops::Range;

use proptest::prelude::*;

use super::*;

fn positions(sides: Images) -> impl Iterator<Item = [usize; 4]> {
    let Images {
        samples,
        height,
        width,
        channels,
    } = sides;
    let each = |range: Range<usize>| range;
    each(0..samples * height * width * channels).map(move |index| {
        let pixel = index / channels;
        let (sample, pixel) = (pixel / (height * width), pixel % (height * width));
        [sample, pixel / width, pixel % width, index % channels]
    })
}

fn at(sides: Images, [sample, row, column, channel]: [usize; 4]) -> usize {
    ((sample * sides.height + row) * sides.width + column) * sides.channels + channel
}

fn shapes<T: Tolerance>(
    sides: Images,
    with: Subsample,
    threads: &Threads,
) -> Result<(), TestCaseError> {
    let input = values::<T>("input", sides.len());
    let out = with.output(sides);
    let mut found = values::<T>("stale", out.len());
    subsample(&input, sides, with, &mut found, threads);
    let source = |[sample, row, column, channel]: [usize; 4]| {
        let kept = (with.padding..with.padding + sides.channels).contains(&channel);
        let pixel = [sample, row * with.stride, column * with.stride];
        kept.then(|| {
            at(
                sides,
                [pixel[0], pixel[1], pixel[2], channel - with.padding],
            )
        })
    };
    let expected = positions(out).map(|to| source(to).map_or(0.0, |from| input[from].to_f32()));
    prop_assert_eq!(wide(&found), expected.map(f64::from).collect::<Vec<_>>());

    let grads = values::<T>("grads", out.len());
    let mut found = values::<T>("stale", sides.len());
    subsample_backward(&grads, sides, with, &mut found, threads);
    let mut expected = vec![0.0; sides.len()];
    for (to, grad) in positions(out).zip(wide(&grads)) {
        source(to)
            .into_iter()
            .for_each(|from| expected[from] = grad);
    }
    prop_assert_eq!(wide(&found), expected);

    let pixels = (sides.height * sides.width) as f64;
    let mut found = vec![T::ZERO; sides.samples * sides.channels];
    average_pool(&input, sides, &mut found, threads);
    let mut expected = vec![0.0; found.len()];
    for ([sample, _, _, channel], value) in positions(sides).zip(wide(&input)) {
        expected[sample * sides.channels + channel] += value / pixels;
    }
    agree("average", &wide(&found), &expected, T::STORED)?;
    let grads = values::<T>("grads", found.len());
    let mut found = vec![T::ZERO; sides.len()];
    average_pool_backward(&grads, sides, &mut found, threads);
    let share = |[sample, _, _, channel]: [usize; 4]| {
        f64::from(grads[sample * sides.channels + channel].to_f32()) / pixels
    };
    let expected: Vec<f64> = positions(sides).map(share).collect();
    agree("average backward", &wide(&found), &expected, T::STORED)
}

/// A run of channels taken from pixels, and put into others.
fn runs<T: Tolerance>(pixels: usize, run: Run, threads: &Threads) -> Result<(), TestCaseError> {
    let whole = values::<T>("whole", pixels * run.pixel);
    let mut part = values::<T>("stale", pixels * run.len);
    take_run(&whole, run, &mut part, threads);
    let is_in = |channel: &usize| (run.first..run.first + run.len).contains(channel);
    let expected = (0..whole.len()).filter(|at| is_in(&(at % run.pixel)));
    prop_assert_eq!(
        wide(&part),
        expected
            .map(|at| whole[at].to_f32().into())
            .collect::<Vec<_>>()
    );

    let mut other = values::<T>("other", whole.len());
    let before = other.clone();
    put_run(&part, run, &mut other, threads);
    for at in 0..whole.len() {
        let from = if is_in(&(at % run.pixel)) {
            &whole
        } else {
            &before
        };
        prop_assert_eq!(other[at].to_f32(), from[at].to_f32());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn runs_agree(
        pixels in 1..300_usize,
        (before, len, behind) in (0..20_usize, 1..40_usize, 0..20_usize),
        threads in 1..4_usize,
    ) {
        let run = Run { pixel: before + len + behind, first: before, len };
        runs::<f32>(pixels, run, &Threads(threads))?;
        runs::<Bf16>(pixels, run, &Threads(threads))?;
    }

    #[test]
    fn shapes_agree(
        samples in 1..5_usize,
        (height, width) in (1..9_usize, 1..9_usize),
        channels in 1..131_usize,
        stride in 1..4_usize,
        padding in 0..3_usize,
        threads in 1..4_usize,
        arch in prop::sample::select(archs()),
    ) {
        FORCED.set(Some(arch));
        let (sides, with) = (Images { samples, height, width, channels }, Subsample { stride, padding });
        shapes::<f32>(sides, with, &Threads(threads))?;
        shapes::<Bf16>(sides, with, &Threads(threads))?;
    }
}
