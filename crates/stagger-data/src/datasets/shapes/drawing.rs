//! Draws one image of `shapes`: what varies, and how much.

use super::figure::Figure;
use crate::random::Stream;

/// Side of every image in pixels.
pub(super) const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// Bytes of one image: three channels.
pub(super) const IMAGE_BYTES: usize = 3 * PIXELS;

/// Circumradius of the figure in pixels.
const RADIUS: [f32; 2] = [8.0, 12.5];
/// Least cosine of the angle by which the figure is turned: up to 37° to either side.
const LEAST_COSINE: f32 = 0.8;
/// Channels of the background's colour lie below this, of 255; with a gradient on top. That the
/// figure is always the lighter one is what makes the set quick to learn: with both signs a small
/// network needs several times as many images.
const DARK: f32 = 115.0;
/// Channels of the figure's colour lie above this, of 255.
const LIGHT: f32 = 140.0;
/// Least difference between figure and background in their most different channel, of 255.
const CONTRAST: f32 = 90.0;
/// How far the background's colour moves from one side to the other, of 255, at most.
const GRADIENT: f32 = 60.0;
/// Half-width of the triangular noise added to every channel of every pixel, of 255.
const NOISE: [f32; 2] = [5.0, 32.0];
/// Most specks and strokes strewn over the image.
const CLUTTER: u64 = 4;
/// Half-width in pixels of the soft edge that antialiasing gives.
const EDGE: f32 = 0.5;

/// Colour planes, before noise and rounding, of 255.
type Canvas = [[f32; PIXELS]; 3];

/// Draws `figure` with everything else taken from `stream` into `pixels` (C, H, W).
pub(super) fn draw(figure: Figure, stream: &mut Stream, pixels: &mut [u8; IMAGE_BYTES]) {
    let mut canvas: Canvas = [[0.0; PIXELS]; 3];
    let background = colour(stream, 0.0, DARK);
    fill(&mut canvas, background, stream);
    let strewn = stream.below(CLUTTER + 1);
    for _ in 0..strewn {
        stroke(&mut canvas, stream);
    }
    place(&mut canvas, figure, background, stream);
    add_noise(&canvas, stream, pixels);
}

fn colour(stream: &mut Stream, low: f32, high: f32) -> [f32; 3] {
    [(); 3].map(|()| stream.between(low, high))
}

/// A plain background with a linear gradient in a random direction.
fn fill(canvas: &mut Canvas, background: [f32; 3], stream: &mut Stream) {
    let [dx, dy] = stream.direction();
    for (plane, level) in canvas.iter_mut().zip(background) {
        let slope = stream.between(-GRADIENT, GRADIENT) / SIDE as f32;
        for (i, value) in plane.iter_mut().enumerate() {
            let (x, y) = position(i % SIDE, i / SIDE, [SIDE as f32 / 2.0; 2]);
            *value = level + slope * (dx * x + dy * y);
        }
    }
}

/// A short stroke (or, when its length is small, a speck) of any colour, anywhere.
fn stroke(canvas: &mut Canvas, stream: &mut Stream) {
    let centre = [(); 2].map(|()| stream.between(0.0, SIDE as f32));
    let [dx, dy] = stream.direction();
    let half_length = stream.between(0.0, 4.0);
    let half_width = stream.between(0.5, 1.1);
    let ink = colour(stream, 0.0, 255.0);
    blend(canvas, centre, half_length + half_width, ink, |x, y| {
        let along = (dx * x + dy * y).clamp(-half_length, half_length);
        let (x, y) = (x - along * dx, y - along * dy);
        (x * x + y * y).sqrt() - half_width
    });
}

/// The figure: size, place, rotation and a colour that stands out from the background.
fn place(canvas: &mut Canvas, figure: Figure, background: [f32; 3], stream: &mut Stream) {
    let radius = stream.between(RADIUS[0], RADIUS[1]);
    // The figure may touch the border of the image but is never cut by it.
    let centre = [(); 2].map(|()| stream.between(radius, SIDE as f32 - radius));
    let [dx, dy] = loop {
        let direction = stream.direction();
        if direction[0] >= LEAST_COSINE {
            break direction;
        }
    };
    let mut ink = colour(stream, LIGHT, 255.0);
    while contrast(ink, background) < CONTRAST {
        ink = colour(stream, LIGHT, 255.0);
    }
    blend(canvas, centre, radius, ink, |x, y| {
        figure.distance(dx * x + dy * y, dx * y - dy * x, radius)
    });
}

fn contrast(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|c| (a[c] - b[c]).abs()).fold(0.0, f32::max)
}

/// Coordinates of a pixel's middle relative to `centre`.
#[inline(always)]
fn position(column: usize, row: usize, centre: [f32; 2]) -> (f32, f32) {
    (
        column as f32 + 0.5 - centre[0],
        row as f32 + 0.5 - centre[1],
    )
}

/// Lays `ink` over the pixels within `reach` of `centre` where `distance` is negative, with an
/// edge one pixel wide.
#[inline(always)]
fn blend(
    canvas: &mut Canvas,
    centre: [f32; 2],
    reach: f32,
    ink: [f32; 3],
    distance: impl Fn(f32, f32) -> f32,
) {
    let range = |middle: f32| {
        let low = (middle - reach - 1.0).max(0.0) as usize;
        let high = (middle + reach + 2.0).clamp(0.0, SIDE as f32) as usize;
        low..high
    };
    for row in range(centre[1]) {
        for column in range(centre[0]) {
            let (x, y) = position(column, row, centre);
            let cover = (EDGE - distance(x, y)).clamp(0.0, 1.0);
            for (plane, ink) in canvas.iter_mut().zip(ink) {
                let value = &mut plane[row * SIDE + column];
                *value += cover * (ink - *value);
            }
        }
    }
}

/// Adds triangular noise, one 64-bit number for the three channels of a pixel, and rounds.
fn add_noise(canvas: &Canvas, stream: &mut Stream, pixels: &mut [u8; IMAGE_BYTES]) {
    const STEP: f32 = 1.0 / 1024.0;
    let strength = stream.between(NOISE[0], NOISE[1]);
    for i in 0..PIXELS {
        let mut bits = stream.next_u64();
        for (channel, plane) in canvas.iter().enumerate() {
            let (a, b) = ((bits & 1023) as f32, ((bits >> 10) & 1023) as f32);
            bits >>= 20;
            let value = plane[i] + strength * STEP * (a - b);
            pixels[channel * PIXELS + i] = (value + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn drawn(figure: Figure, index: u64) -> [u8; IMAGE_BYTES] {
        let mut pixels = [0; IMAGE_BYTES];
        draw(
            figure,
            &mut Stream::new(3, Purpose::DrawTraining, index, 0),
            &mut pixels,
        );
        pixels
    }

    #[test]
    fn the_figure_is_all_that_differs_between_classes() {
        let disc = drawn(Figure::Disc, 5);
        let square = drawn(Figure::Square, 5);
        assert_eq!(disc, drawn(Figure::Disc, 5));
        let differing = disc.iter().zip(&square).filter(|(a, b)| a != b).count();
        // Background, strokes and noise come from the same numbers.
        assert!((30..IMAGE_BYTES / 2).contains(&differing), "{differing}");
    }

    #[test]
    fn the_figure_is_lighter_than_the_background() {
        for index in 0..50 {
            let mut canvas: Canvas = [[0.0; PIXELS]; 3];
            let mut stream = Stream::new(3, Purpose::DrawTest, index, 0);
            place(&mut canvas, Figure::Disc, [DARK; 3], &mut stream);
            let lit = canvas[0].iter().filter(|&&value| value >= LIGHT).count() as f32;
            // A disc of 0.9 radii, wholly inside the image.
            let areas = RADIUS.map(|radius| std::f32::consts::PI * (0.9 * radius) * (0.9 * radius));
            assert!(
                lit > 0.8 * areas[0] && lit < 1.05 * areas[1],
                "{lit}, {areas:?}"
            );
        }
    }
}
