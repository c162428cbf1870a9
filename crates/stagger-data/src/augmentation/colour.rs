//! Changes of the colours of an image of three planes, by the formulas of torchvision for tensors of bytes: products in f32, and
//! fractions dropped at the end.

/// The brightest value.
const BOUND: f32 = 255.0;

/// Scales all values.
pub(super) fn brightness(image: &mut [u8], factor: f32) {
    for value in image {
        *value = blend(*value, 0.0, factor);
    }
}

/// Moves all values away from the mean of the image in grey, or towards it for a factor below 1.
pub(super) fn contrast(image: &mut [u8], factor: f32) {
    let plane = image.len() / 3;
    let sum: u64 = greys(image).map(u64::from).sum();
    let mean = (sum as f64 / plane.max(1) as f64) as f32;
    for value in image {
        *value = blend(*value, mean, factor);
    }
}

/// Moves the colour of each pixel away from its grey, or towards it for a factor below 1.
pub(super) fn saturation(image: &mut [u8], factor: f32) {
    let plane = image.len() / 3;
    for at in 0..plane {
        let pixel = pixel(image, at);
        let grey = f32::from(grey(pixel));
        for (channel, value) in pixel.into_iter().enumerate() {
            image[channel * plane + at] = blend(value, grey, factor);
        }
    }
}

/// Turns the hue of each pixel by a share of the circle, from −½ to ½.
pub(super) fn hue(image: &mut [u8], turn: f32) {
    let plane = image.len() / 3;
    for at in 0..plane {
        let rgb = pixel(image, at).map(|value| f32::from(value) / BOUND);
        let [hue, saturation, value] = hsv(rgb);
        let turned = (hue + turn).rem_euclid(1.0);
        let rgb = of_hsv([turned, saturation, value]);
        for (channel, value) in rgb.into_iter().enumerate() {
            // A little below 256, so that every byte stands for an interval of one width.
            image[channel * plane + at] = (value * 255.999) as u8;
        }
    }
}

/// Moves each pixel but those at the edge away from the mean of its neighbours, or towards it for a factor below 1.
pub(super) fn sharpness(
    image: &mut [u8],
    [height, width]: [usize; 2],
    factor: f32,
    blurred: &mut [u8],
) {
    if height <= 2 || width <= 2 {
        return;
    }
    blurred.copy_from_slice(image);
    let planes = image.chunks_exact(height * width);
    for (plane, blurred) in planes.zip(blurred.chunks_exact_mut(height * width)) {
        for row in 1..height - 1 {
            for column in 1..width - 1 {
                let at = row * width + column;
                let of_row = |from: usize| {
                    (plane[from - 1..=from + 1].iter())
                        .map(|&value| u32::from(value))
                        .sum::<u32>()
                };
                // The pixel itself counts five times.
                let sum =
                    of_row(at - width) + of_row(at) + of_row(at + width) + 4 * u32::from(plane[at]);
                blurred[at] = (sum as f32 / 13.0).round_ties_even() as u8;
            }
        }
    }
    for (value, blurred) in image.iter_mut().zip(blurred) {
        *value = blend(*value, f32::from(*blurred), factor);
    }
}

/// Keeps the highest bits of each value.
pub(super) fn posterize(image: &mut [u8], bits: u32) {
    let mask = !0_u8 << 8_u32.saturating_sub(bits).min(7);
    image.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts what is not below the threshold.
pub(super) fn solarize(image: &mut [u8], threshold: f32) {
    for value in image {
        if f32::from(*value) >= threshold {
            *value = 255 - *value;
        }
    }
}

/// Stretches each channel to all values, from the darkest to the brightest.
pub(super) fn auto_contrast(image: &mut [u8]) {
    let plane = image.len() / 3;
    for channel in image.chunks_exact_mut(plane.max(1)) {
        let darkest = f32::from(channel.iter().copied().min().unwrap_or(0));
        let brightest = f32::from(channel.iter().copied().max().unwrap_or(0));
        if darkest == brightest {
            continue;
        }
        let scale = BOUND / (brightest - darkest);
        for value in channel {
            *value = ((f32::from(*value) - darkest) * scale).clamp(0.0, BOUND) as u8;
        }
    }
}

/// Spreads the values of each channel so that about as many pixels have each.
pub(super) fn equalize(image: &mut [u8]) {
    let plane = image.len() / 3;
    for channel in image.chunks_exact_mut(plane.max(1)) {
        let mut counts = [0_usize; 256];
        for &value in channel.iter() {
            counts[usize::from(value)] += 1;
        }
        let brightest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let step = (channel.len() - counts[brightest]) / 255;
        if step == 0 {
            continue;
        }
        let mut below = 0;
        let table = counts.map(|count| {
            let value = (below + step / 2) / step;
            below += count;
            value.min(255) as u8
        });
        for value in channel {
            *value = table[usize::from(*value)];
        }
    }
}

fn pixel(image: &[u8], at: usize) -> [u8; 3] {
    let plane = image.len() / 3;
    [image[at], image[plane + at], image[2 * plane + at]]
}

fn greys(image: &[u8]) -> impl Iterator<Item = u8> + '_ {
    (0..image.len() / 3).map(|at| grey(pixel(image, at)))
}

fn grey(pixel: [u8; 3]) -> u8 {
    let [red, green, blue] = pixel.map(f32::from);
    (0.2989 * red + 0.587 * green + 0.114 * blue) as u8
}

fn blend(value: u8, other: f32, factor: f32) -> u8 {
    let rest = (1.0 - f64::from(factor)) as f32;
    (factor * f32::from(value) + rest * other).clamp(0.0, BOUND) as u8
}

/// Hue, saturation and value of a pixel, all from 0 to 1.
fn hsv([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let most = red.max(green).max(blue);
    let least = red.min(green).min(blue);
    if most == least {
        return [0.0, 0.0, most];
    }
    let range = most - least;
    let [from_red, from_green, from_blue] = [red, green, blue].map(|value| (most - value) / range);
    let sixths = if most == red {
        from_blue - from_green
    } else if most == green {
        2.0 + from_red - from_blue
    } else {
        4.0 + from_green - from_red
    };
    [(sixths / 6.0 + 1.0) % 1.0, range / most, most]
}

/// Red, green and blue.
fn of_hsv([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let sector = (hue * 6.0).floor();
    let within = hue * 6.0 - sector;
    let low = (value * (1.0 - saturation)).clamp(0.0, 1.0);
    let falling = (value * (1.0 - saturation * within)).clamp(0.0, 1.0);
    let rising = (value * (1.0 - saturation * (1.0 - within))).clamp(0.0, 1.0);
    match sector as u32 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a change makes of two pixels.
    fn changed(pixels: [[u8; 3]; 2], change: impl FnOnce(&mut [u8])) -> [[u8; 3]; 2] {
        let [one, other] = pixels;
        let mut image = [one[0], other[0], one[1], other[1], one[2], other[2]];
        change(&mut image);
        [pixel(&image, 0), pixel(&image, 1)]
    }

    const PIXELS: [[u8; 3]; 2] = [[200, 100, 50], [0, 10, 250]];

    #[test]
    fn blends_by_hand() {
        // 1.5 times, cut off at 255.
        let found = changed(PIXELS, |image| brightness(image, 1.5));
        assert_eq!(found, [[255, 150, 75], [0, 15, 255]]);
        // Greys are 59.78 + 58.7 + 5.7 = 124.18 and 5.87 + 28.5 = 34.37: 124 and 34, of mean 79.
        let found = changed(PIXELS, |image| contrast(image, 0.5));
        assert_eq!(found, [[139, 89, 64], [39, 44, 164]]);
        let found = changed(PIXELS, |image| saturation(image, 0.0));
        assert_eq!(found, [[124; 3], [34; 3]]);
        // Away from 124 and 34 by as much again.
        let found = changed(PIXELS, |image| saturation(image, 2.0));
        assert_eq!(found, [[255, 76, 0], [0, 0, 255]]);
    }

    #[test]
    fn hues_turn() {
        let primaries = [[255, 0, 0], [0, 0, 255]];
        let found = changed(primaries, |image| hue(image, 1.0 / 3.0));
        assert_eq!(found, [[0, 255, 0], [255, 0, 0]]);
        let found = changed([[90, 90, 90], [200, 100, 100]], |image| hue(image, 0.5));
        // Grey has no hue; the opposite of a light red is a light cyan.
        assert_eq!(found, [[90; 3], [100, 200, 200]]);
        let found = changed(PIXELS, |image| hue(image, 0.0));
        assert_eq!(found, PIXELS);
    }

    #[test]
    fn bits_and_thresholds() {
        let found = changed(PIXELS, |image| posterize(image, 4));
        assert_eq!(found, [[192, 96, 48], [0, 0, 240]]);
        assert_eq!(changed(PIXELS, |image| posterize(image, 8)), PIXELS);
        let found = changed(PIXELS, |image| solarize(image, 100.0));
        assert_eq!(found, [[55, 155, 50], [0, 10, 5]]);
        let found = changed(PIXELS, auto_contrast);
        assert_eq!(found, [[255, 255, 0], [0, 0, 255]]);
        // A channel of one value stays.
        let flat = [[7, 1, 2], [7, 3, 4]];
        assert_eq!(changed(flat, auto_contrast), [[7, 0, 0], [7, 255, 255]]);
    }

    #[test]
    fn sharpness_moves_from_the_mean_of_the_neighbours() {
        let mut image = [10_u8; 27];
        image[4] = 140;
        let mut blurred = [0; 27];
        let blur = |image: &mut [u8; 27], factor, blurred: &mut [u8; 27]| {
            sharpness(image, [3, 3], factor, blurred);
            image[4]
        };
        // (8 · 10 + 5 · 140) / 13 = 60.
        assert_eq!(blur(&mut image.clone(), 0.0, &mut blurred), 60);
        assert_eq!(blur(&mut image.clone(), 1.0, &mut blurred), 140);
        assert_eq!(blur(&mut image.clone(), 1.5, &mut blurred), 180);
        assert_eq!(blur(&mut image, 0.5, &mut blurred), 100);
        // The edge stays, and so does an image that is all edge.
        assert_eq!((image[0], image[3]), (10, 10));
        let mut narrow = [1, 9, 1, 9, 1, 9];
        sharpness(&mut narrow, [1, 2], 0.0, &mut [0; 6]);
        assert_eq!(narrow, [1, 9, 1, 9, 1, 9]);
    }

    #[test]
    fn equalized_values_are_spread() {
        // 510 pixels: 255 of value 3, 255 of value 9. Below 9 are 255, in steps of 255 / 255 = 1.
        let mut image: Vec<u8> = (0..3 * 510)
            .map(|at| if at % 2 == 0 { 3 } else { 9 })
            .collect();
        equalize(&mut image);
        assert_eq!(image[..4], [0, 255, 0, 255]);
        // Too few pixels below the brightest value to make steps of.
        let mut few = vec![3, 9, 3, 9, 3, 9];
        equalize(&mut few);
        assert_eq!(few, [3, 9, 3, 9, 3, 9]);
    }

    proptest! {
        #[test]
        fn a_factor_of_one_changes_nothing(pixels in proptest::collection::vec(any::<u8>(), 27..=27)) {
            let mut image = pixels.clone();
            brightness(&mut image, 1.0);
            contrast(&mut image, 1.0);
            saturation(&mut image, 1.0);
            sharpness(&mut image, [3, 3], 1.0, &mut [0; 27]);
            solarize(&mut image, 256.0);
            prop_assert_eq!(image, pixels);
        }

        #[test]
        fn a_hue_turned_and_turned_back_is_nearly_the_same(red: u8, green: u8, blue: u8, turn in -0.5f32..0.5) {
            let mut image = [red, green, blue];
            hue(&mut image, turn);
            hue(&mut image, -turn);
            let most = red.max(green).max(blue);
            let least = red.min(green).min(blue);
            let found = image.iter().zip([red, green, blue]);
            for (found, expected) in found {
                // A byte of value is lost, and what that is of the hue.
                prop_assert!(found.abs_diff(expected) <= 4, "{found} for {expected} of {least}..{most}");
            }
        }
    }
}
